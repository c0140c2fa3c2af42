//! From what a network says to confidences that mean something.

/// How logits become probabilities. The gap of a class is how far its logit lies below the highest one; its probability is
/// proportional to `exp(-gap^gap_exponent / temperature)`.
///
/// With an exponent of 1 this is the softmax of logits that are divided by the temperature (Guo et al. 2017). An exponent below
/// 1 makes answers that are far ahead less sure of themselves, and narrow ones more; above 1 it is the other way round. In a
/// window with less sound than `short_s` the temperature is as many times higher as the sound is shorter: a network that learned
/// from whole utterances is as sure of a syllable. The classes of one window keep their order, whatever the three are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// See [`ModelMeta::temperature`](super::ModelMeta::temperature).
    pub temperature: f32,
    /// See [`ModelMeta::gap_exponent`](super::ModelMeta::gap_exponent).
    pub gap_exponent: f32,
    /// See [`ModelMeta::short_s`](super::ModelMeta::short_s).
    pub short_s: f32,
}

/// The plain softmax.
impl Default for Calibration {
    fn default() -> Calibration {
        Calibration { temperature: 1.0, gap_exponent: 1.0, short_s: 0.0 }
    }
}

impl Calibration {
    /// The probabilities of the classes for a window with so many seconds of sound, more than 0; in [0, 1], with the sum 1. The
    /// logits must be finite.
    pub fn probabilities(self, logits: &[f32], sound_s: f64) -> impl Iterator<Item = f64> + '_ {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponent = f64::from(self.gap_exponent);
        let temperature = f64::from(self.temperature) * (f64::from(self.short_s) / sound_s).max(1.0);
        let weight = move |&logit: &f32| (-f64::from(highest - logit).powf(exponent) / temperature).exp();
        let total: f64 = logits.iter().map(weight).sum();
        logits.iter().map(move |logit| weight(logit) / total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probabilities(temperature: f32, gap_exponent: f32, logits: &[f32]) -> Vec<f64> {
        Calibration { temperature, gap_exponent, short_s: 0.0 }.probabilities(logits, 0.01).collect()
    }

    #[test]
    fn without_an_exponent_it_is_the_textbooks_softmax() {
        let logits = [1.0f32, -2.0, 0.5, 0.5];
        for temperature in [0.5, 1.0, 3.0] {
            let total: f64 = logits.iter().map(|x| f64::from(x / temperature).exp()).sum();
            for (got, x) in probabilities(temperature, 1.0, &logits).into_iter().zip(logits) {
                let expected = f64::from(x / temperature).exp() / total;
                assert!((got - expected).abs() < 1e-6, "{got} for {expected}");
            }
        }
    }

    #[test]
    fn the_exponent_is_that_of_the_gap() {
        // Gaps of 4 and 1, whose roots are 2 and 1.
        let p = probabilities(0.5, 0.5, &[-1.0, 3.0, 2.0]);
        assert!((p[0] / p[1]).ln() + 4.0 < 1e-12 && ((p[2] / p[1]).ln() + 2.0).abs() < 1e-12, "{p:?}");
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        // Far ahead: less sure. Narrow: surer.
        let top = |exponent, gap: f32| probabilities(1.0, exponent, &[0.0, -gap])[0];
        assert!(top(0.8, 5.0) < top(1.0, 5.0) && top(0.8, 0.2) > top(1.0, 0.2));
    }

    #[test]
    fn the_temperature_of_short_sounds_is_higher() {
        let calibration = Calibration { temperature: 2.0, gap_exponent: 1.0, short_s: 1.2 };
        for (sound_s, temperature) in [(0.1, 24.0), (0.6, 4.0), (1.2, 2.0), (5.0, 2.0), (f64::INFINITY, 2.0)]
        {
            let p: Vec<f64> = calibration.probabilities(&[1.0, 0.0], sound_s).collect();
            assert!(((p[0] / p[1]).ln() * temperature - 1.0).abs() < 1e-6, "{sound_s}: {p:?}");
        }
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        for exponent in [0.25, 1.0, 4.0] {
            let logits = [f32::MAX, -f32::MAX, 0.0, f32::MAX];
            assert_eq!(probabilities(0.05, exponent, &logits), [0.5, 0.0, 0.0, 0.5]);
        }
    }

    #[test]
    fn equal_logits_are_equally_likely() {
        assert_eq!(probabilities(0.7, 0.25, &[3.0; 4]), [0.25; 4]);
    }
}
