//! Powers in decibel.

/// Replaces each power by `10 * log10` of it, within 4e-6 dB for the powers of sound, and the same on every
/// machine. Powers below `amin`, a positive normal number, and those that are not numbers count as `amin`; an
/// infinite one as the largest number.
///
/// A third of the time of `f32::log10`, because it has no branches and so is done for several values at once.
#[inline(always)]
pub(super) fn powers_to_db(powers: &mut [f32], amin: f32) {
    for power in powers {
        *power = power_to_db(power.max(amin).min(f32::MAX));
    }
}

/// `10 * log10(power)` of a positive normal number.
///
/// The number is taken apart into `2^e * (1 + f)`, with `1 + f` between the roots of 1/2 and 2. The logarithm of
/// `1 + f` is that of FreeBSD's `e_logf.c` (S. Moshier's and K. C. Ng's method, error below 2^-34), with `s = f / (2
/// + f)`: `f - (f^2 / 2 - s (f^2 / 2 + R(s^2)))`.
#[inline(always)]
fn power_to_db(power: f32) -> f32 {
    const ROOT_OF_HALF: u32 = 0x3f35_04f3;
    // 10 log10(2), the first part so short that its products with exponents are exact.
    const DB_PER_OCTAVE: f32 = 3.010_254;
    const DB_PER_OCTAVE_REST: f32 = 4.605e-5;
    const DB_PER_NEPER: f32 = 4.342_944_8;
    let exponent = power.to_bits().wrapping_sub(ROOT_OF_HALF) as i32 >> 23;
    let f = f32::from_bits(power.to_bits().wrapping_sub((exponent << 23) as u32)) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let rest = w * (0.400_009_72 + w * 0.242_790_79) + z * (0.666_666_6 + w * 0.284_987_87);
    let half_square = 0.5 * f * f;
    let log = f - (half_square - s * (half_square + rest));
    let exponent = exponent as f32;
    exponent * DB_PER_OCTAVE + (exponent * DB_PER_OCTAVE_REST + log * DB_PER_NEPER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_logarithm() {
        // Some hundred thousand numbers over the whole range, and all near 1 and near the roots.
        let ranges =
            [(f32::MIN_POSITIVE, f32::MAX, 1_013), (0.99, 1.01, 1), (0.707, 0.7075, 1), (1.414, 1.4145, 1)];
        for (low, high, step) in ranges {
            for bits in (low.to_bits()..high.to_bits()).step_by(step) {
                let power = f32::from_bits(bits);
                let want = 10.0 * f64::from(power).log10();
                let got = f64::from(power_to_db(power));
                // Half a unit in the last place of the answer, and a little for what went before.
                let tolerance = 6e-8 * want.abs() + 3e-7;
                assert!((got - want).abs() <= tolerance, "{power:e}: {got} {want}");
            }
        }
    }

    #[test]
    fn what_is_no_power_is_counted_as_one() {
        let mut powers = [0.0, -1.0, f32::NAN, f32::NEG_INFINITY, 1e-11, 1e-10, 1.0, f32::INFINITY];
        powers_to_db(&mut powers, 1e-10);
        assert_eq!(powers[..7], [-100.0, -100.0, -100.0, -100.0, -100.0, -100.0, 0.0]);
        assert!((powers[7] - 10.0 * f32::MAX.log10()).abs() < 1e-4, "{}", powers[7]);
    }
}
