use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Latency histogram from 100 ns to ten minutes with three significant digits.
pub(super) struct LatencyHistogram(Histogram<u64>);

impl Default for LatencyHistogram {
    fn default() -> Self {
        LatencyHistogram(Histogram::new_with_bounds(100, 600_000_000_000, 3).expect("the bounds are valid"))
    }
}

impl LatencyHistogram {
    pub(super) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    #[cfg(feature = "kafka")]
    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        Percentiles::of(&self.0, 1e6)
    }
}

impl Percentiles {
    /// `per_ms`: units of the histogram in a millisecond.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn of(histogram: &Histogram<u64>, per_ms: f64) -> Self {
        let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / per_ms;
        // A quantile needs at least one event beyond it.
        let valid = CURVE.iter().filter(|point| events_beyond(histogram.len(), **point) >= 1.0);
        Percentiles {
            count: histogram.len(),
            mean_ms: histogram.mean() / per_ms,
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: ms(1.0),
            curve: valid.map(|point| (*point, ms(*point))).collect(),
        }
    }
}

/// Quantiles of the chart, evenly spaced on a logarithmic axis of 1/(1 - quantile).
const CURVE: [f64; 21] = [
    0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999,
    0.99995, 0.99999,
];

#[allow(clippy::cast_precision_loss)]
fn events_beyond(count: u64, quantile: f64) -> f64 {
    count as f64 * (1.0 - quantile)
}

/// Summary of a [`LatencyHistogram`]; all zero when it is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Percentiles {
    pub(super) count: u64,
    pub(super) mean_ms: f64,
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
    /// Points `(quantile, ms)`.
    pub(super) curve: Vec<(f64, f64)>,
}

impl Percentiles {
    /// Table cells p50, p90, p99, p99.9 and max; dashes without events.
    pub(super) fn cells(&self) -> [String; 5] {
        [self.p50_ms, self.p90_ms, self.p99_ms, self.p999_ms, self.max_ms].map(|ms| match self.count {
            0 => "-".to_owned(),
            _ => figure(ms),
        })
    }
}

/// A number with about three significant digits, without an exponent.
pub(super) fn figure(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        size if size >= 1.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summarises_recorded_latencies() {
        let mut sample = LatencyHistogram::default();
        assert_eq!(sample.percentiles().cells(), ["-"; 5]);
        (1..=1_000).for_each(|ms| sample.record(Duration::from_millis(ms)));
        let found = sample.percentiles();
        assert_eq!(found.count, 1_000);
        for (found, expected) in
            [(found.p50_ms, 500.0), (found.p99_ms, 990.0), (found.max_ms, 1_000.0), (found.mean_ms, 500.5)]
        {
            assert!((found / expected - 1.0).abs() < 0.002, "{found} {expected}");
        }
        assert_eq!(found.curve.last().map(|point| point.0), Some(0.999));
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!([0.0123, 1.234, 12.34, 123.4].map(figure), ["0.012", "1.23", "12.3", "123"]);
    }
}
