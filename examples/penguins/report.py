"""Summarise penguins.csv by species and chart flipper length against body mass."""

import csv
import json
import math
from collections import defaultdict
from statistics import correlation, linear_regression, mean

MEASURES = ["bill_length_mm", "flipper_length_mm", "body_mass_g"]
COLOURS = {"Adelie": "#e8710a", "Chinstrap": "#8e44ad", "Gentoo": "#00797a"}


def read_penguins(path):
    """Return the complete rows by species, and how many rows had a measure missing."""
    penguins, dropped = defaultdict(list), 0
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if any(row[measure] in ("", "NA") for measure in MEASURES):
                dropped += 1
                continue
            penguins[row["species"]].append({measure: float(row[measure]) for measure in MEASURES})
    return dict(sorted(penguins.items())), dropped


def column(rows, name):
    return [row[name] for row in rows]


def summarise(rows):
    summary = {"count": len(rows)}
    for measure in MEASURES:
        summary[f"mean_{measure}"] = round(mean(column(rows, measure)), 1)
    flipper, mass = column(rows, "flipper_length_mm"), column(rows, "body_mass_g")
    summary["flipper_mass_correlation"] = round(correlation(flipper, mass), 3)
    return summary


def print_table(summaries):
    print(f"{'species':<12}{'count':>6}{'bill mm':>10}{'flipper mm':>12}{'mass g':>9}{'r(flipper, mass)':>18}")
    print("-" * 67)
    for name, summary in summaries.items():
        count, bill, flipper, mass, r = summary.values()
        print(f"{name:<12}{count:>6}{bill:>10.1f}{flipper:>12.1f}{mass:>9.0f}{r:>18.3f}")


class Scale:
    """Maps the data from low to high, widened to whole steps, onto pixels."""

    def __init__(self, values, step, start, end):
        self.low = math.floor(min(values) / step) * step
        self.high = math.ceil(max(values) / step) * step
        self.ticks = range(self.low, self.high + 1, step)
        self.start, self.end = start, end

    def __call__(self, value):
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def draw_chart(penguins):
    width, height = 760, 500
    left, right, top, bottom = 76, 24, 84, 62
    everyone = [row for rows in penguins.values() for row in rows]
    x = Scale(column(everyone, "flipper_length_mm"), 10, left, width - right)
    y = Scale(column(everyone, "body_mass_g"), 500, height - bottom, top)

    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#444">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="32" font-size="19" font-weight="bold" fill="#222">'
        "Longer flippers, heavier penguins</text>",
        f'<text x="{left}" y="53">{len(everyone)} penguins of the Palmer Archipelago, 2007-2009</text>',
    ]
    for tick in x.ticks:
        svg.append(f'<path d="M{x(tick)} {top}V{height - bottom}" stroke="#eee"/>')
        svg.append(f'<path d="M{x(tick)} {height - bottom}v5" stroke="#888"/>')
        svg.append(f'<text x="{x(tick)}" y="{height - bottom + 20}" text-anchor="middle">{tick}</text>')
    for tick in y.ticks:
        svg.append(f'<path d="M{left} {y(tick)}H{width - right}" stroke="#eee"/>')
        svg.append(f'<path d="M{left} {y(tick)}h-5" stroke="#888"/>')
        svg.append(f'<text x="{left - 10}" y="{y(tick) + 4.5}" text-anchor="end">{tick:,}</text>')
    svg.append(f'<path d="M{left} {top}V{height - bottom}H{width - right}" fill="none" stroke="#888"/>')
    middle_x, middle_y = (left + width - right) / 2, (top + height - bottom) / 2
    svg.append(f'<text x="{middle_x}" y="{height - 16}" text-anchor="middle">Flipper length (mm)</text>')
    svg.append(
        f'<text transform="translate(20 {middle_y}) rotate(-90)" text-anchor="middle">Body mass (g)</text>'
    )

    for species, rows in penguins.items():
        colour = COLOURS[species]
        flipper, mass = column(rows, "flipper_length_mm"), column(rows, "body_mass_g")
        svg.append(f'<g fill="{colour}" fill-opacity="0.6" stroke="#fff" stroke-width="0.6">')
        svg += [f'<circle cx="{x(f)}" cy="{y(m)}" r="4.5"/>' for f, m in zip(flipper, mass)]
        svg.append("</g>")
        slope, intercept = linear_regression(flipper, mass)
        ends = [f"{x(f)} {y(slope * f + intercept)}" for f in (min(flipper), max(flipper))]
        svg.append(f'<path d="M{ends[0]}L{ends[1]}" stroke="{colour}" stroke-width="2.5"/>')

    svg.append(f'<rect x="{left + 14}" y="{top + 12}" width="126" height="{24 * len(penguins) + 12}" rx="4"'
               ' fill="#fff" stroke="#ddd"/>')
    for index, species in enumerate(penguins):
        line = top + 30 + 24 * index
        svg.append(f'<circle cx="{left + 30}" cy="{line}" r="5.5" fill="{COLOURS[species]}"/>')
        svg.append(f'<text x="{left + 44}" y="{line + 4.5}">{species}</text>')
    svg.append("</svg>")
    return "\n".join(svg) + "\n"


def main():
    penguins, dropped = read_penguins("penguins.csv")
    summaries = {species: summarise(rows) for species, rows in penguins.items()}
    print_table(summaries)
    print(f"\n{dropped} rows without measurements were left out.")

    with open("summary.json", "w", encoding="utf-8") as file:
        json.dump({"rows_dropped": dropped, "species": summaries}, file, indent=2)
        file.write("\n")
    with open("chart.svg", "w", encoding="utf-8") as file:
        file.write(draw_chart(penguins))


if __name__ == "__main__":
    main()
