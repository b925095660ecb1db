//! How a metric is declared: one line makes its handle, registers it and documents it.

use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
};

/// What the table says about one metric.
pub(super) struct Declaration {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) labels: &'static [&'static str],
    pub(super) buckets: &'static [f64],
    pub(super) help: &'static str,
}

/// A type of metrics that can be made from its declaration.
pub(super) trait Metric: Collector + Clone + Sized + 'static {
    const KIND: &'static str;
    fn make(declaration: &Declaration) -> prometheus::Result<Self>;
}

macro_rules! metric_types {
    ($($type:ident, $kind:literal, |$d:ident| $make:expr;)+) => {
        $(impl Metric for $type {
            const KIND: &'static str = $kind;
            fn make($d: &Declaration) -> prometheus::Result<Self> { $make }
        })+
    };
}

metric_types! {
    IntCounter, "counter", |d| IntCounter::with_opts(opts(d));
    IntCounterVec, "counter", |d| IntCounterVec::new(opts(d), d.labels);
    Counter, "counter", |d| Counter::with_opts(opts(d));
    CounterVec, "counter", |d| CounterVec::new(opts(d), d.labels);
    Gauge, "gauge", |d| Gauge::with_opts(opts(d));
    GaugeVec, "gauge", |d| GaugeVec::new(opts(d), d.labels);
    IntGauge, "gauge", |d| IntGauge::with_opts(opts(d));
    IntGaugeVec, "gauge", |d| IntGaugeVec::new(opts(d), d.labels);
    Histogram, "histogram", |d| Histogram::with_opts(histogram_opts(d));
    HistogramVec, "histogram", |d| HistogramVec::new(histogram_opts(d), d.labels);
}

fn opts(declaration: &Declaration) -> Opts {
    Opts::new(declaration.name, declaration.help)
}

fn histogram_opts(declaration: &Declaration) -> HistogramOpts {
    HistogramOpts::from(opts(declaration)).buckets(declaration.buckets.to_vec())
}

/// The buckets that are given, if they are.
pub(super) const fn only(given: &[&'static [f64]]) -> &'static [f64] {
    match given {
        [buckets] => buckets,
        _ => &[],
    }
}

pub(super) fn register<T: Metric>(
    registry: &Registry,
    declaration: &Declaration,
) -> prometheus::Result<T> {
    let metric = T::make(declaration)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ident = $name:literal
        $(, labels [$($label:literal),+])? $(, buckets $buckets:expr)?;)+
    ) => {
        /// A handle on every metric.
        #[derive(Clone)]
        pub(super) struct Handles { $($(#[doc = $doc])+ pub(super) $field: $type,)+ }

        /// Every metric, in the order of the documentation.
        pub(super) const TABLE: &[Declaration] = &[$(declared::$field,)+];

        #[allow(non_upper_case_globals, reason = "each is named like the field it belongs to")]
        mod declared {
            use super::*;
            $(pub(super) const $field: Declaration = Declaration {
                name: $name,
                kind: <$type as Metric>::KIND,
                labels: &[$($($label),+)?],
                buckets: only(&[$($buckets)?]),
                help: concat!($($doc),+).trim_ascii(),
            };)+
        }

        impl Handles {
            /// Makes all metrics known to `registry`.
            pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
                Ok(Self { $($field: register(registry, &declared::$field)?,)+ })
            }
        }
    };
}

pub(super) use metrics;
