"""What every board consists of: variables, links, and panels with a title, a unit and what to do when they look bad."""

from typing import Sequence
from urllib.parse import quote

from grafana_foundation_sdk.builders import common as commons
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Panel,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

# Matches what has no such label, too: without Kubernetes nothing has a namespace.
ANY = ".*"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
# How a threshold looks: what is above it, or what is below it, is bad.
GREEN, YELLOW, RED = "green", "yellow", "red"

Query = tuple[str, str]
# The uids and titles of boards.
Others = Sequence[tuple[str, str]]


def worker(**labels: str) -> str:
    """The selector of workers' series. A value that begins with a tilde is a regular expression."""
    return _selector(namespace="~$namespace", job="~$job", instance="~$worker", **labels)


def language(**labels: str) -> str:
    """The selector of workers' series that have a language."""
    return worker(language="~$language", **labels)


def fleet(**labels: str) -> str:
    """The selector of the exporter's series."""
    return _selector(namespace="~$namespace", **labels)


def _selector(**labels: str) -> str:
    matchers = (f'{name}={"~" if value[0] == "~" else ""}"{value.lstrip("~")}"' for name, value in labels.items())
    return "{" + ", ".join(matchers) + "}"


def rate(metric: str, selector: str) -> str:
    return f"rate({metric}{selector}[$__rate_interval])"


def quantile(share: float, metric: str, selector: str, by: str = "") -> str:
    labels = ", ".join(filter(None, ["le", by]))
    return f"histogram_quantile({share}, sum by ({labels}) ({rate(metric + '_bucket', selector)}))"


def above(*steps: tuple[float, str]) -> boards.ThresholdsConfig:
    """Green, and each colour from its value on."""
    return _thresholds(GREEN, steps)


def below(*steps: tuple[float, str]) -> boards.ThresholdsConfig:
    """Red, and each colour from its value on."""
    return _thresholds(RED, steps)


def _thresholds(first: str, steps: Sequence[tuple[float, str]]) -> boards.ThresholdsConfig:
    levels = [Threshold(value=None, color=first)]
    levels += [Threshold(value=value, color=color) for value, color in steps]
    return boards.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(levels)


def _query(number: int, expression: str, legend: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(expression).legend_format(legend or "__auto")
    return query.ref_id(chr(ord("A") + number)).datasource(SOURCE).range()


def single(title: str, expression: str, unit: str, thresholds: boards.ThresholdsConfig, description: str) -> stat.Panel:
    panel = stat.Panel().title(title).description(description).datasource(SOURCE).unit(unit)
    panel.span(3).height(4).thresholds(thresholds).graph_mode(common.BigValueGraphMode.AREA)
    panel.color_mode(common.BigValueColorMode.BACKGROUND)
    panel.reduce_options(commons.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel.with_target(_query(0, expression, ""))


def lines(title: str, unit: str, description: str, *queries: Query, width: int = 8, stacked: bool = False) -> timeseries.Panel:
    panel = timeseries.Panel().title(title).description(description).datasource(SOURCE).unit(unit)
    panel.span(width).height(8).min(0).fill_opacity(20 if stacked else 8)
    panel.show_points(common.VisibilityMode.NEVER)
    panel.tooltip(commons.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    legend = commons.VizLegendOptions().display_mode(common.LegendDisplayMode.TABLE)
    panel.legend(legend.placement(common.LegendPlacement.BOTTOM).calcs(["mean", "max"]).show_legend(True))
    if stacked:
        panel.stacking(commons.StackingConfig().mode(common.StackingMode.NORMAL))
    for number, (expression, name) in enumerate(queries):
        panel.with_target(_query(number, expression, name))
    return panel


def heat(title: str, description: str, metric: str, selector: str, width: int = 12) -> heatmap.Panel:
    expression = f"sum by (le) ({rate(metric + '_bucket', selector)})"
    panel = heatmap.Panel().title(title).description(description).datasource(SOURCE).unit("s")
    panel.span(width).height(8).calculate(False)
    panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
    panel.y_axis(heatmap.YAxisConfig().unit("s"))
    return panel.with_target(_query(0, expression, "{{le}}").format(PromQueryFormat.HEATMAP))


def percentiles(title: str, description: str, metric: str, selector: str, width: int = 8) -> timeseries.Panel:
    queries = [(quantile(share, metric, selector), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)]
    return lines(title, "s", description, *queries, width=width)


def _variable(name: str, label: str, metric: str, value: str, selector: str) -> boards.QueryVariable:
    variable = boards.QueryVariable(name).label(label).datasource(SOURCE)
    variable.query(f"label_values({metric}{selector}, {value})").multi(True).include_all(True).all_value(ANY)
    variable.current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)


def _explore(source: str, query: str) -> str:
    panes = (
        '{"sandfleet":{"datasource":"' + source + '","queries":[' + query + '],'
        '"range":{"from":"${__from}","to":"${__to}"}}}'
    )
    return "/explore?schemaVersion=1&orgId=1&panes=" + quote(panes, safe="${}:_")


def board(uid: str, title: str, description: str, others: Others) -> boards.Dashboard:
    """A board without panels. `others` are the uids and titles of those that it leads to."""
    made = boards.Dashboard(title).uid(uid).description(description).tags(["sandfleet"]).readonly()
    made.timezone("browser").time("now-1h", "now").refresh("30s").tooltip(DashboardCursorSync.CROSSHAIR)
    for kind, label in (("prometheus", "Metrics"), ("loki", "Logs"), ("tempo", "Traces")):
        name = "datasource" if kind == "prometheus" else kind
        made.with_variable(boards.DatasourceVariable(name).label(label).type(kind))
    info, scope = "sandfleet_build_info", '{namespace=~"$namespace"}'
    made.with_variable(_variable("namespace", "Namespace", info, "namespace", ""))
    made.with_variable(_variable("job", "Job", info, "job", scope))
    workers = '{namespace=~"$namespace", job=~"$job"}'
    made.with_variable(_variable("worker", "Worker", info, "instance", workers))
    made.with_variable(_variable("language", "Language", "sandfleet_job_starts_total", "language", workers))
    made.with_variable(
        boards.TextBoxVariable("job_id").label("Job id").default_value("").description("Leads to a job's log lines and trace.")
    )
    for other, name in others:
        link = boards.DashboardLink(name).type(DashboardLinkType.LINK).url(f"/d/{other}").icon("dashboard")
        made.link(link.include_vars(True).keep_time(True))
    lines_of = '{"refId":"A","expr":"{job=~\\".+\\"} |= `${job_id}`"}'
    trace_of = '{"refId":"A","queryType":"traceql","query":"{ span.sandfleet.job_id = \\"${job_id}\\" }"}'
    for name, url in (("Job's log", _explore("${loki}", lines_of)), ("Job's trace", _explore("${tempo}", trace_of))):
        made.link(boards.DashboardLink(name).type(DashboardLinkType.LINK).url(url).icon("external link").target_blank(True))
    return made


def row(made: boards.Dashboard, title: str, *panels: Builder[Panel]) -> None:
    made.with_row(boards.Row(title))
    for panel in panels:
        made.with_panel(panel)
