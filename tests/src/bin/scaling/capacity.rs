//! The model behind the plan: a fleet's capacity follows from its slots, its cores and what one job
//! costs. And arrivals for a load that is a share of it.

use crate::calibration::Calibration;

/// The most jobs a second: as many as fit into the slots, or as many as the cores have time for.
pub(crate) fn capacity(slots: usize, job: &Calibration) -> f64 {
    (slots as f64 / job.held).min(job.cores / job.cpu)
}

/// When jobs are due.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arrivals {
    Even,
    /// Independent of each other: exponential intervals.
    Poisson,
}

impl Arrivals {
    /// In seconds from the begin, `rate` a second.
    pub(crate) fn times(self, rate: f64, jobs: usize) -> Vec<f64> {
        let (mut at, mut random) = (0.0, Random(jobs as u64));
        let mut next = || {
            at += match self {
                Self::Even => 1.0,
                Self::Poisson => random.exponential(),
            } / rate;
            at
        };
        (0..jobs).map(|_| next()).collect()
    }
}

/// splitmix64: the same arrivals in every run and every version.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Exponentially distributed around 1.
    fn exponential(&mut self) -> f64 {
        // From 53 bits, and never 0, which has no logarithm.
        let uniform = ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        -uniform.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store_use::StoreUse;

    fn job(held: f64, cpu: f64) -> Calibration {
        Calibration {
            kind: "print",
            cores: 2.0,
            alone: held,
            held,
            cpu,
            store: StoreUse::default(),
            result_bytes: 0.0,
            record_bytes: 0.0,
        }
    }

    #[test]
    fn capacity_is_limited_by_slots_or_by_cores() {
        assert_eq!(capacity(16, &job(0.5, 0.01)), 32.0);
        assert_eq!(capacity(256, &job(0.5, 0.01)), 200.0);
        assert_eq!(capacity(16, &job(0.05, 0.05)), 40.0);
    }

    #[test]
    fn arrivals_keep_their_rate_and_poisson_arrivals_vary() {
        let even = Arrivals::Even.times(20.0, 1000);
        assert!((even[999] - 50.0).abs() < 1e-9, "{}", even[999]);
        let poisson = Arrivals::Poisson.times(20.0, 100_000);
        assert!((poisson[99_999] / 5000.0 - 1.0).abs() < 0.02, "{}", poisson[99_999]);
        let gaps: Vec<f64> = poisson.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // An exponential distribution's standard deviation is its mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{mean}, {variance}");
    }
}
