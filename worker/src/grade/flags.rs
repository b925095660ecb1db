//! Flags of the default output validator.

use sandfleet_common::{Comparison, ComparisonKind};

/// How output is compared by the default output validator with these arguments.
pub(super) fn comparison(arguments: &[String]) -> Result<Comparison, String> {
    let mut comparison = Comparison { kind: ComparisonKind::Tokens, ..Comparison::default() };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut tolerance = || {
            let value = arguments.next().and_then(|value| value.parse::<f64>().ok());
            let value = value.filter(|value| value.is_finite() && *value >= 0.0);
            value.ok_or_else(|| format!("output validator: {argument} needs a number of 0 or more"))
        };
        match argument.as_str() {
            "case_sensitive" => comparison.case_sensitive = true,
            "space_change_sensitive" => comparison.space_change_sensitive = true,
            "float_absolute_tolerance" => comparison.absolute = Some(tolerance()?),
            "float_relative_tolerance" => comparison.relative = Some(tolerance()?),
            "float_tolerance" => {
                let value = tolerance()?;
                (comparison.absolute, comparison.relative) = (Some(value), Some(value));
            }
            other => {
                return Err(format!(
                    "output validator: the default one knows no argument {other:?}"
                ));
            }
        }
    }
    if comparison.absolute.is_some() || comparison.relative.is_some() {
        comparison.kind = ComparisonKind::Numeric;
    }
    Ok(comparison)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_default_validator_are_a_comparison() {
        let of = |text: &str| {
            comparison(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(of("").map(|it| it.kind), Ok(ComparisonKind::Tokens));
        let both = of("case_sensitive float_tolerance 1e-6").expect("known");
        assert!(both.case_sensitive && both.kind == ComparisonKind::Numeric);
        assert_eq!((both.absolute, both.relative), (Some(1e-6), Some(1e-6)));
        assert_eq!(of("float_absolute_tolerance 0.1").map(|it| it.relative), Ok(None));
        for bad in ["float_tolerance", "float_tolerance x", "float_tolerance -1", "fuzzy"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
