//! Bjøntegaard delta rate.

/// Points at which the two curves are compared.
const SAMPLES: usize = 400;

/// How much more rate curve `a` needs than curve `b` for the same quality, in percent, over the qualities that both
/// reach: below 0, `a` is better. Points are (rate, quality), in any order; `None` when the curves have no quality in common
/// or fewer than two points are left of one.
///
/// The logarithm of the rate is interpolated over quality by monotone cubic pieces (PCHIP). Points that cost more than
/// another without being better are left out, so that there is one rate for a quality.
pub fn bd_rate(a: &[(f64, f64)], b: &[(f64, f64)]) -> Option<f64> {
    let (a, b) = (Curve::new(a)?, Curve::new(b)?);
    let (low, high) = (a.low().max(b.low()), a.high().min(b.high()));
    if high <= low {
        return None;
    }
    let step = (high - low) / (SAMPLES - 1) as f64;
    let qualities = (0..SAMPLES).map(|n| (low + n as f64 * step).min(high));
    let mean = qualities.map(|quality| a.at(quality) - b.at(quality)).sum::<f64>() / SAMPLES as f64;
    Some((10f64.powf(mean) - 1.0) * 100.0)
}

/// Cubic pieces through points with increasing x, whose slopes are those of Fritsch and Butland.
struct Curve {
    x: Vec<f64>,
    y: Vec<f64>,
    slopes: Vec<f64>,
}

impl Curve {
    fn new(points: &[(f64, f64)]) -> Option<Self> {
        let legal = |point: &&(f64, f64)| point.0 > 0.0 && point.0.is_finite() && point.1.is_finite();
        let mut points: Vec<_> = points.iter().filter(legal).copied().collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for (rate, quality) in points {
            if x.last().is_none_or(|&last| quality > last) {
                x.push(quality);
                y.push(rate.log10());
            }
        }
        (x.len() >= 2).then(|| Self { slopes: slopes(&x, &y), x, y })
    }

    fn low(&self) -> f64 {
        self.x[0]
    }

    fn high(&self) -> f64 {
        self.x[self.x.len() - 1]
    }

    fn at(&self, x: f64) -> f64 {
        let piece = self.x.partition_point(|&start| start <= x).clamp(1, self.x.len() - 1) - 1;
        let width = self.x[piece + 1] - self.x[piece];
        let t = (x - self.x[piece]) / width;
        let (t2, t3) = (t * t, t * t * t);
        (2.0 * t3 - 3.0 * t2 + 1.0) * self.y[piece]
            + (t3 - 2.0 * t2 + t) * width * self.slopes[piece]
            + (3.0 * t2 - 2.0 * t3) * self.y[piece + 1]
            + (t3 - t2) * width * self.slopes[piece + 1]
    }
}

/// Slopes at the points: harmonic means inside, three-point formulas that keep the shape at the ends.
fn slopes(x: &[f64], y: &[f64]) -> Vec<f64> {
    let widths: Vec<f64> = x.windows(2).map(|x| x[1] - x[0]).collect();
    let chords: Vec<f64> = y.windows(2).zip(&widths).map(|(y, width)| (y[1] - y[0]) / width).collect();
    if chords.len() == 1 {
        return vec![chords[0]; 2];
    }
    let last = chords.len() - 1;
    let inside = (0..last).map(|n| {
        let ((h0, h1), (d0, d1)) = ((widths[n], widths[n + 1]), (chords[n], chords[n + 1]));
        if d0 * d1 <= 0.0 {
            return 0.0;
        }
        let (w0, w1) = (2.0 * h1 + h0, h1 + 2.0 * h0);
        (w0 + w1) / (w0 / d0 + w1 / d1)
    });
    let end = |h0: f64, h1: f64, d0: f64, d1: f64| {
        let slope = ((2.0 * h0 + h1) * d0 - h0 * d1) / (h0 + h1);
        if slope * d0 <= 0.0 {
            0.0
        } else if d0 * d1 <= 0.0 && slope.abs() > 3.0 * d0.abs() {
            3.0 * d0
        } else {
            slope
        }
    };
    let first = end(widths[0], widths[1], chords[0], chords[1]);
    let final_slope = end(widths[last], widths[last - 1], chords[last], chords[last - 1]);
    std::iter::once(first).chain(inside).chain(std::iter::once(final_slope)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_rate_is_minus_fifty_percent() {
        let b = [(100.0, 0.2), (200.0, 0.5), (400.0, 0.7), (800.0, 0.75)];
        let a = b.map(|(rate, quality)| (rate / 2.0, quality));
        assert!((bd_rate(&a, &b).unwrap() + 50.0).abs() < 1e-9);
        assert!((bd_rate(&b, &a).unwrap() - 100.0).abs() < 1e-9);
        assert!(bd_rate(&b, &b).unwrap().abs() < 1e-12);
    }

    #[test]
    fn curves_without_common_quality_have_no_difference() {
        let curve = [(1.0, 0.1), (2.0, 0.2)];
        assert_eq!(bd_rate(&curve, &[(1.0, 0.2), (2.0, 0.3)]), None);
        assert_eq!(bd_rate(&curve, &[(1.0, 0.1)]), None);
        assert_eq!(bd_rate(&curve, &[(1.0, 0.2), (2.0, 0.1)]), None);
        assert_eq!(bd_rate(&curve, &[(0.0, 0.1), (f64::NAN, 0.2)]), None);
        assert_eq!(bd_rate(&[], &curve), None);
    }
}
