//! How far the distribution of one network is from that of another.

/// What one row of logits says about the next token, against the reference's row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divergence {
    /// Kullback-Leibler divergence of the model from the reference, `sum p ln(p / q)` with `p` the
    /// reference's probabilities. Nats; 0 for equal distributions.
    pub kl: f64,
    /// Whether both think the same token likeliest.
    pub same_top: bool,
}

/// Compares two rows of logits of the same length, in f64.
pub fn divergence(reference: &[f32], model: &[f32]) -> Divergence {
    debug_assert_eq!(reference.len(), model.len());
    let (p_log_sum, q_log_sum) = (log_sum_exp(reference), log_sum_exp(model));
    let kl = reference.iter().zip(model).map(|(p, q)| {
        let (p_log, q_log) = (f64::from(*p) - p_log_sum, f64::from(*q) - q_log_sum);
        let p = p_log.exp();
        // What has no probability adds nothing, even where its logit is minus infinity.
        if p > 0.0 { p * (p_log - q_log) } else { 0.0 }
    });
    // Rounding may leave a sum of the order of -1e-17.
    Divergence { kl: kl.sum::<f64>().max(0.0), same_top: top(reference) == top(model) }
}

/// Index of the largest logit, the first of equals.
pub fn top(logits: &[f32]) -> usize {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    max + logits.iter().map(|logit| (f64::from(*logit) - max).exp()).sum::<f64>().ln()
}

/// Divergences of many positions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Divergences {
    kls: Vec<f64>,
    same_top: usize,
}

impl Divergences {
    /// Adds one position.
    pub fn add(&mut self, one: Divergence) {
        self.kls.push(one.kl);
        self.same_top += usize::from(one.same_top);
    }

    /// Number of positions.
    pub fn positions(&self) -> usize {
        self.kls.len()
    }

    /// Mean divergence. Nats.
    pub fn kl_mean(&self) -> f64 {
        self.kls.iter().sum::<f64>() / self.kls.len().max(1) as f64
    }

    /// The divergence that 99 of 100 positions do not exceed. Nats.
    pub fn kl_p99(&self) -> f64 {
        let mut sorted = self.kls.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        sorted.get(rank).copied().unwrap_or_default()
    }

    /// Largest divergence. Nats.
    pub fn kl_max(&self) -> f64 {
        self.kls.iter().copied().fold(0.0, f64::max)
    }

    /// Share of positions with the same likeliest token, 0 to 1.
    pub fn top_agreement(&self) -> f64 {
        self.same_top as f64 / self.kls.len().max(1) as f64
    }
}
