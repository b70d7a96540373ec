//! Sums of few basis vectors: the inverse reduction of a frame in which few components changed.

use pulp::Arch;

/// Adds Σ weight · vector to `row`. Vectors are as long as `row`.
#[inline(always)]
fn add<'a>(row: &mut [f32], terms: &[(u32, f32)], vector: &impl Fn(usize) -> &'a [f32]) {
    let n = row.len();
    let mut quads = terms.chunks_exact(4);
    for quad in &mut quads {
        let [(a, wa), (b, wb), (c, wc), (d, wd)] = [quad[0], quad[1], quad[2], quad[3]];
        let (a, b, c, d) =
            (&vector(a as usize)[..n], &vector(b as usize)[..n], &vector(c as usize)[..n], &vector(d as usize)[..n]);
        for i in 0..n {
            row[i] += (wa * a[i] + wb * b[i]) + (wc * c[i] + wd * d[i]);
        }
    }
    for &(k, w) in quads.remainder() {
        for (out, v) in row.iter_mut().zip(vector(k as usize)) {
            *out += w * v;
        }
    }
}

/// For each row, adds Σ weight · vector over its terms: `terms[starts[i]..starts[i + 1]]` are those of row `i`, each a vector's
/// index and weight. Rows begin `stride` apart in `rows` and are `len` long.
pub fn add_terms<'a>(
    rows: &mut [f32],
    stride: usize,
    len: usize,
    starts: &[u32],
    terms: &[(u32, f32)],
    vector: impl Fn(usize) -> &'a [f32],
) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, range) in rows.chunks_mut(stride).zip(starts.windows(2)) {
                add(&mut row[..len], &terms[range[0] as usize..range[1] as usize], &vector);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_gets_its_own_terms() {
        let basis: Vec<Vec<f32>> = (0..6).map(|k| (0..5).map(|i| (k * 5 + i) as f32).collect()).collect();
        let terms: Vec<(u32, f32)> = vec![(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0), (4, 5.0), (5, -1.0)];
        let mut rows = vec![100.0f32; 3 * 8];
        add_terms(&mut rows, 8, 5, &[0, 5, 5, 6], &terms, |k| &basis[k]);
        for i in 0..5 {
            let first: f32 = (0..5).map(|k| (k + 1) as f32 * basis[k][i]).sum();
            assert_eq!(rows[i], 100.0 + first);
            assert_eq!(rows[8 + i], 100.0);
            assert_eq!(rows[16 + i], 100.0 - basis[5][i]);
        }
        assert!(rows.chunks(8).all(|r| r[5..].iter().all(|&v| v == 100.0)));
    }
}
