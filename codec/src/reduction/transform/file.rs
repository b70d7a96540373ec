//! The file of a transform, `.fcmt` (docs/bitstream.md §9).

use super::{CellShape, Linear, Mapping, NetworkPair, Transform, TransformId};
use crate::bitstream::bytes::Cursor;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{self, Limits};
use crate::reduction::relevance::{MAX_WEIGHTS, Probe};
use crate::refinement::{Restoration, RestorationGain, RestorationStrength};
use sha2::{Digest, Sha256};

const MAGIC: [u8; 4] = *b"FCMT";
/// Version of files with a basis and no probe.
const PLAIN: u8 = 1;
/// Version of files with a basis and a probe.
const PROBED: u8 = 2;
/// Version of files with a pair of networks, with or without a probe.
const LEARNED: u8 = 3;
/// Version of files with synthesis vectors of their own, with or without a probe.
const BIORTHOGONAL: u8 = 4;
/// Version of files with a strength of restoration, which say behind it which of the versions up to 4 they are otherwise.
const RESTORED: u8 = 5;
/// Version of files with intra weights, which say the same and a strength of restoration, 16 = in full.
const PREDICTED: u8 = 6;
/// Version of files with a gain of restoration, which say all of that, with intra weights or without. The newest.
const GAINED: u8 = 7;
/// What the kind of such a file is more where it has intra weights.
const WITH_WEIGHTS: u8 = 8;
/// Bytes before the cells in the oldest version: magic, version, kind and strength from version 5 on, gain from version 7 on, layers, D, K, samples, total variance.
const FIXED: usize = 4 + 4 + 4 + 4 + 4 + 8 + 8;
const CELL: usize = 12;
const DIGEST: usize = 32;

/// The parts of a file, cut by the lengths in it: nothing is allocated before all of them are there.
struct Parts<'a> {
    dimension: u32,
    samples: u64,
    total_variance: f64,
    cells: &'a [u8],
    variances: &'a [u8],
    /// Bias and weights.
    probe: Option<&'a [u8]>,
    restoration: Restoration,
    /// Three bytes a component.
    intra_weights: Option<&'a [u8]>,
    mapping: MappingParts<'a>,
}

enum MappingParts<'a> {
    /// The basis is the analysis vectors where there are synthesis vectors.
    Linear {
        mean: &'a [u8],
        basis: &'a [u8],
        synthesis: Option<&'a [u8]>,
    },
    Learned {
        reduction: &'a [u8],
        restoration: &'a [u8],
    },
}

impl<'a> Parts<'a> {
    /// Cuts the `content` of a file: all but the digest.
    fn cut(content: &'a [u8], limits: &Limits) -> Result<Self> {
        let mut c = Cursor::new(content);
        c.take(MAGIC.len())?;
        let Version { kind: version, restoration, predicted } = Version::read(&mut c)?;
        let (layers, dimension, components) = (u32_of(&mut c)?, u32_of(&mut c)?, u32_of(&mut c)?);
        limits::check("number of layers", u64::from(layers), u64::from(limits.max_layers.min(256)))?;
        let samples = u64::from_le_bytes(c.take(8)?.try_into().expect("8 bytes"));
        let total_variance = f64::from_le_bytes(c.take(8)?.try_into().expect("8 bytes"));
        let weights = if version >= PROBED { u32_of(&mut c)? } else { 0 };
        limits::check("number of weights of a probe", u64::from(weights), MAX_WEIGHTS as u64)?;
        let cells = c.take(layers as usize * CELL)?;
        let variances = c.take(floats(components, 1))?;
        let probe = |c: &mut Cursor<'a>| c.take(floats(weights + 1, 1));
        let (probe, mapping) = if version == LEARNED {
            let probe = if weights > 0 { Some(probe(&mut c)?) } else { None };
            let mut network = || {
                let length = u32_of(&mut c)?;
                c.take(length as usize)
            };
            (probe, MappingParts::Learned { reduction: network()?, restoration: network()? })
        } else {
            let mean = c.take(floats(dimension, 1))?;
            let mut vectors = || c.take(floats(components, dimension));
            let basis = vectors()?;
            let synthesis = if version == BIORTHOGONAL { Some(vectors()?) } else { None };
            let probe = if version == PROBED || weights > 0 { Some(probe(&mut c)?) } else { None };
            (probe, MappingParts::Linear { mean, basis, synthesis })
        };
        let intra_weights = if predicted {
            Some(c.take(usize::try_from(3 * u64::from(components)).unwrap_or(usize::MAX))?)
        } else {
            None
        };
        if c.position() != content.len() {
            let (length, promised) = (content.len() + DIGEST, c.position() + DIGEST);
            return Err(Error::corrupt(format!("{length} bytes, the header promises {promised}")));
        }
        // Whatever is read must be what `content` writes, or the identity would not be that of the file.
        let mut unused = cells.chunks_exact(CELL).flat_map(|c| &c[9..CELL]);
        if unused.any(|&b| b != 0) || cells.chunks_exact(CELL).any(|c| c[8] > 1) {
            return Err(Error::corrupt("a reserved bit is set"));
        }
        Ok(Self { dimension, samples, total_variance, cells, variances, probe, restoration, intra_weights, mapping })
    }

    fn transform(&self) -> Result<Transform> {
        let (cells, variances) = (read_cells(self.cells), read_floats(self.variances));
        let transform = match self.mapping {
            MappingParts::Linear { mean, basis, synthesis } => {
                let (mean, analysis) = (read_floats(mean), read_floats(basis));
                let linear = Linear { mean, analysis, synthesis: synthesis.map(read_floats) };
                Transform::linear(cells, linear, variances, self.total_variance, self.samples)
            }
            MappingParts::Learned { reduction, restoration } => {
                let networks = NetworkPair { reduction: reduction.to_vec(), restoration: restoration.to_vec() };
                Transform::learned(cells, networks, variances, self.total_variance, self.samples)
            }
        }?;
        if transform.dimension() != self.dimension {
            let (d, of_cells) = (self.dimension, transform.dimension());
            return Err(Error::corrupt(format!("dimension {d}, the cells have {of_cells} values")));
        }
        let mut transform = transform.with_restoration(self.restoration);
        if let Some(weights) = self.intra_weights {
            let weights = weights.chunks_exact(3).map(|w| [w[0] as i8, w[1] as i8, w[2] as i8]);
            transform = transform.with_intra_weights(weights.collect())?;
        }
        match self.probe.map(read_floats).as_deref() {
            Some([bias, weights @ ..]) => transform.with_probe(Probe::new(*bias, weights.to_vec())?),
            _ => Ok(transform),
        }
    }
}

impl Transform {
    /// Reads a `.fcmt` file's bytes.
    ///
    /// # Errors
    /// `Corruption` (bad magic, checksum, or values), `InsufficientData`, `Compatibility`, `LimitExceeded`.
    pub fn from_bytes(bytes: &[u8], limits: &Limits) -> Result<Self> {
        limits::check("number of bytes in a transform", bytes.len() as u64, limits.max_transform)?;
        let shortest = FIXED + DIGEST;
        if bytes.len() < shortest {
            let length = bytes.len();
            return Err(Error::truncated(format!("a transform of {length} bytes, the shortest has {shortest}")));
        }
        if bytes[..4] != MAGIC {
            return Err(Error::corrupt(format!("a transform that begins {:02x?}, not \"FCMT\"", &bytes[..4])));
        }
        let version = bytes[4];
        if !(PLAIN..=GAINED).contains(&version) {
            return Err(Error::new(
                ErrorKind::Compatibility,
                format!("a transform of version {version}, this build reads versions {PLAIN} to {GAINED}"),
            ));
        }
        let (content, digest) = bytes.split_at(bytes.len() - DIGEST);
        let parts = Parts::cut(content, limits).map_err(|e| match e.kind() {
            ErrorKind::LimitExceeded => e,
            kind => Error::new(kind, format!("a transform: {e}")),
        })?;
        let computed = Sha256::digest(content);
        if computed.as_slice() != digest {
            return Err(Error::corrupt("a transform whose checksum does not match its content"));
        }
        let transform = parts.transform().map_err(|e| Error::corrupt(e.to_string()))?;
        debug_assert_eq!(transform.id, id_of(&computed));
        Ok(transform)
    }

    /// The `.fcmt` file of this transform.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.content();
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// The same transform with the identity that its content has.
    pub(super) fn identified(mut self) -> Self {
        self.id = id_of(&Sha256::digest(self.content()));
        self
    }

    /// The version but for restoration and intra weights.
    fn version(&self) -> u8 {
        match (&self.mapping, &self.probe) {
            (Mapping::Learned(_), _) => LEARNED,
            (Mapping::Linear(linear), _) if linear.synthesis.is_some() => BIORTHOGONAL,
            (Mapping::Linear(_), Some(_)) => PROBED,
            (Mapping::Linear(_), None) => PLAIN,
        }
    }

    fn content(&self) -> Vec<u8> {
        let version = self.version();
        let mut bytes = Vec::with_capacity(self.length());
        bytes.extend_from_slice(&MAGIC);
        let Restoration { strength, gain } = self.restoration;
        let sixteenths = strength.sixteenths();
        bytes.extend_from_slice(&match (&self.intra_weights, strength, gain) {
            (Some(_), _, RestorationGain::NONE) => [PREDICTED, version, sixteenths, 0],
            (None, RestorationStrength::FULL, RestorationGain::NONE) => [version, 0, 0, 0],
            (None, _, RestorationGain::NONE) => [RESTORED, version, sixteenths, 0],
            (weights, _, gain) => {
                let weights = if weights.is_some() { WITH_WEIGHTS } else { 0 };
                [GAINED, version + weights, sixteenths, gain.sixteenths()]
            }
        });
        bytes.extend_from_slice(&(self.cells.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.dimension().to_le_bytes());
        bytes.extend_from_slice(&self.components().to_le_bytes());
        bytes.extend_from_slice(&self.samples.to_le_bytes());
        bytes.extend_from_slice(&self.total_variance.to_le_bytes());
        if version >= PROBED {
            let weights = self.probe.as_ref().map_or(0, |probe| probe.weights().len());
            bytes.extend_from_slice(&(weights as u32).to_le_bytes());
        }
        for c in &self.cells {
            bytes.extend_from_slice(&c.channels.to_le_bytes());
            bytes.extend_from_slice(&c.rows.to_le_bytes());
            bytes.extend_from_slice(&c.cols.to_le_bytes());
            bytes.extend_from_slice(&[u8::from(c.laid_out), 0, 0, 0]);
        }
        write_floats(&self.variances, &mut bytes);
        if let Mapping::Linear(linear) = &self.mapping {
            write_floats(&linear.mean, &mut bytes);
            write_floats(&linear.analysis, &mut bytes);
            linear.synthesis.iter().for_each(|vectors| write_floats(vectors, &mut bytes));
        }
        if let Some(probe) = &self.probe {
            write_floats(&[probe.bias()], &mut bytes);
            write_floats(probe.weights(), &mut bytes);
        }
        if let Mapping::Learned(networks) = &self.mapping {
            for network in [&networks.reduction, &networks.restoration] {
                bytes.extend_from_slice(&(network.len() as u32).to_le_bytes());
                bytes.extend_from_slice(network);
            }
        }
        let weights = self.intra_weights.iter().flat_map(|weights| weights.iter().flatten());
        bytes.extend(weights.map(|&w| w as u8));
        bytes
    }

    /// Bytes of the file, or a few more.
    fn length(&self) -> usize {
        let probe = self.probe.as_ref().map_or(0, |probe| probe.weights().len() + 2);
        let mapping = match &self.mapping {
            Mapping::Linear(linear) => {
                let synthesis = linear.synthesis.as_ref().map_or(0, Vec::len);
                4 * (linear.mean.len() + linear.analysis.len() + synthesis)
            }
            Mapping::Learned(networks) => 12 + networks.reduction.len() + networks.restoration.len(),
        };
        let intra_weights = self.intra_weights.as_ref().map_or(0, |weights| 3 * weights.len());
        FIXED + self.cells.len() * CELL + 4 * (self.variances.len() + probe) + mapping + intra_weights + DIGEST
    }
}

/// What the version of a file says.
struct Version {
    /// Which of the versions up to 4 it is otherwise.
    kind: u8,
    restoration: Restoration,
    /// Whether it has intra weights.
    predicted: bool,
}

impl Version {
    fn read(c: &mut Cursor<'_>) -> Result<Self> {
        let (version, kind, strength, gain) = match *c.take(4)? {
            [kind @ PLAIN..=BIORTHOGONAL, 0, 0, 0] => {
                return Ok(Self { kind, restoration: Restoration::default(), predicted: false });
            }
            [version @ (RESTORED | PREDICTED), kind, strength, 0] => (version, kind, strength, 16),
            // A gain of one has no such file.
            [GAINED, kind, strength, gain] if gain != 16 => (GAINED, kind, strength, gain),
            _ => return Err(Error::corrupt("a reserved bit is set")),
        };
        let (kind, predicted) = match version {
            GAINED => (kind & !WITH_WEIGHTS, kind & WITH_WEIGHTS != 0),
            _ => (kind, version == PREDICTED),
        };
        if !(PLAIN..=BIORTHOGONAL).contains(&kind) {
            return Err(Error::corrupt(format!("content of version {kind}, legal are {PLAIN} to {BIORTHOGONAL}")));
        }
        let (known, most) = match version {
            RESTORED => (RestorationStrength::partial(strength), 15),
            _ => (RestorationStrength::new(strength), 16),
        };
        let strength =
            known.ok_or_else(|| Error::corrupt(format!("a strength of {strength}/16, legal are 0 to {most}")))?;
        let gain = RestorationGain::new(gain)
            .ok_or_else(|| Error::corrupt(format!("a gain of {gain}/16, legal are 17 to 64")))?;
        Ok(Self { kind, restoration: Restoration { strength, gain }, predicted })
    }
}

fn id_of(digest: &[u8]) -> TransformId {
    TransformId(digest[..8].try_into().expect("a digest of 32 bytes"))
}

fn u32_of(c: &mut Cursor<'_>) -> Result<u32> {
    Ok(u32::from_le_bytes(c.take(4)?.try_into().expect("4 bytes")))
}

/// Bytes of `rows` × `columns` values; more than there can be where they would overflow.
fn floats(rows: u32, columns: u32) -> usize {
    usize::try_from((u64::from(rows) * u64::from(columns)).saturating_mul(4)).unwrap_or(usize::MAX)
}

fn read_floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes"))).collect()
}

fn write_floats(values: &[f32], bytes: &mut Vec<u8>) {
    values.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
}

fn read_cells(bytes: &[u8]) -> Vec<CellShape> {
    let cell = |c: &[u8]| CellShape {
        channels: u32::from_le_bytes(c[..4].try_into().expect("4 bytes")),
        rows: u16::from_le_bytes([c[4], c[5]]),
        cols: u16::from_le_bytes([c[6], c[7]]),
        laid_out: c[8] != 0,
    };
    bytes.chunks_exact(CELL).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{learned, transform};
    use super::*;

    #[test]
    fn file_round_trip_keeps_content_and_id() {
        let a = transform();
        let b = Transform::from_bytes(&a.to_bytes(), &Limits::default()).unwrap();
        assert_eq!(a.id(), b.id());
        assert_eq!(a.to_bytes(), b.to_bytes());
        assert_eq!((b.components(), b.dimension(), b.samples()), (2, 3, 77));
        assert!((b.energy(1) - 0.6).abs() < 1e-12 && (b.energy(2) - 0.8).abs() < 1e-12);
    }

    #[test]
    fn a_probe_travels_in_version_2_and_changes_the_id() {
        let probe = Probe::new(-0.5, vec![1.0, 2.0]).unwrap();
        let with = transform().with_probe(probe.clone()).unwrap();
        assert_ne!(with.id(), transform().id());
        let bytes = with.to_bytes();
        assert_eq!((bytes[4], transform().to_bytes()[4]), (2, 1));
        let read = Transform::from_bytes(&bytes, &Limits::default()).unwrap();
        assert_eq!((read.id(), read.probe()), (with.id(), Some(&probe)));
        assert!(transform().with_probe(Probe::new(0.0, vec![0.0; 3]).unwrap()).is_err());
    }

    #[test]
    fn synthesis_vectors_of_their_own_are_version_4_and_come_behind_the_analysis() {
        let a = transform();
        let (cells, mean) = (a.cells().to_vec(), vec![1.0, 2.0, 3.0]);
        let make = |synthesis: Vec<f32>| {
            let analysis = vec![2.0, 0.0, 0.0, 0.0, 0.0, 4.0];
            Transform::biorthogonal(cells.clone(), mean.clone(), analysis, synthesis, vec![3.0, 1.0], 5.0, 77)
        };
        let with = make(vec![0.5, 0.0, 0.0, 0.0, 0.0, 0.25]).unwrap();
        let mut expected = a.to_bytes()[..36].to_vec();
        expected[4] = 4;
        expected.extend_from_slice(&[0, 0, 0, 0]);
        // Cells, variances and mean as in version 1.
        expected.extend_from_slice(&a.to_bytes()[36..36 + 2 * CELL + 8 + 12]);
        for value in [2.0f32, 0.0, 0.0, 0.0, 0.0, 4.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.25] {
            expected.extend_from_slice(&value.to_le_bytes());
        }
        let digest = Sha256::digest(&expected);
        expected.extend_from_slice(&digest);
        assert_eq!(with.to_bytes(), expected);
        let probe = Probe::new(-0.5, vec![1.0, 2.0]).unwrap();
        let probed = with.clone().with_probe(probe.clone()).unwrap();
        for (transform, probe) in [(with, None), (probed, Some(&probe))] {
            let bytes = transform.to_bytes();
            let read = Transform::from_bytes(&bytes, &Limits::default()).unwrap();
            assert_eq!((read.id(), read.probe(), bytes[4]), (transform.id(), probe, 4));
            assert_eq!(read.to_bytes(), bytes);
            every_flip_and_cut_is_refused(&bytes);
        }
        assert!(make(vec![0.5; 5]).unwrap_err().to_string().contains("[6, 5] basis values"));
        assert!(make(vec![f32::INFINITY; 6]).unwrap_err().to_string().contains("not finite"));
    }

    #[test]
    fn a_strength_of_restoration_is_version_5_with_the_version_it_would_have_behind_it() {
        let strength = strength(4);
        let probed = transform().with_probe(Probe::new(1.0, vec![3.0]).unwrap()).unwrap();
        for (kind, plain) in [(1, transform()), (2, probed), (3, learned())] {
            let with = plain.clone().with_restoration(strength);
            let (bytes, old) = (with.to_bytes(), plain.to_bytes());
            assert_eq!(bytes[4..8], [5, kind, 4, 0]);
            assert_eq!(bytes[8..bytes.len() - DIGEST], old[8..old.len() - DIGEST]);
            let read = Transform::from_bytes(&bytes, &Limits::default()).unwrap();
            assert_eq!((read.id(), read.restoration()), (with.id(), strength));
            assert_ne!(read.id(), plain.id());
            assert_eq!(with.with_restoration(Restoration::default()).to_bytes(), old);
            every_flip_and_cut_is_refused(&bytes);
        }
    }

    #[test]
    fn intra_weights_are_version_6_with_the_strength_in_the_head_and_come_last() {
        let strength = strength(4);
        let probed = transform().with_probe(Probe::new(1.0, vec![3.0]).unwrap()).unwrap();
        for (kind, plain) in [(1, transform()), (2, probed), (3, learned())] {
            let with = plain.clone().with_intra_weights(vec![[64, -1, 0], [127, -128, 2]]).unwrap();
            let (bytes, old) = (with.to_bytes(), plain.to_bytes());
            assert_eq!(bytes[4..8], [6, kind, 16, 0]);
            let (content, last) = bytes[8..bytes.len() - DIGEST].split_at(old.len() - DIGEST - 8);
            assert_eq!((content, last), (&old[8..old.len() - DIGEST], &[64, 255, 0, 127, 128, 2][..]));
            let read = Transform::from_bytes(&bytes, &Limits::default()).unwrap();
            assert_eq!((read.id(), read.intra_weights()), (with.id(), with.intra_weights()));
            every_flip_and_cut_is_refused(&bytes);
            let partial = with.with_restoration(strength).to_bytes();
            assert_eq!(partial[4..8], [6, kind, 4, 0]);
            assert_eq!(Transform::from_bytes(&partial, &Limits::default()).unwrap().restoration(), strength);
        }
        assert!(transform().with_intra_weights(vec![[0; 3]; 3]).unwrap_err().to_string().contains("of 3 components"));
    }

    #[test]
    fn a_strength_beyond_what_is_legal_is_refused_whatever_the_checksum() {
        let strength = strength(0);
        let predicted = transform().with_intra_weights(vec![[1; 3]; 2]).unwrap().to_bytes();
        let refused_of = |good: &[u8], at: usize, value: u8| {
            let mut content = good[..good.len() - DIGEST].to_vec();
            content[at] = value;
            let digest = Sha256::digest(&content);
            content.extend_from_slice(&digest);
            Transform::from_bytes(&content, &Limits::default()).unwrap_err().to_string()
        };
        let good = transform().with_restoration(strength).to_bytes();
        let refused = |at, value| refused_of(&good, at, value);
        assert!(refused_of(&predicted, 6, 17).contains("a strength of 17/16, legal are 0 to 16"));
        assert!(refused(6, 16).contains("a strength of 16/16, legal are 0 to 15"));
        assert!(refused(5, 5).contains("content of version 5, legal are 1 to 4"));
        assert!(refused(7, 1).contains("reserved"));
        let gain = Restoration { gain: RestorationGain::new(17).unwrap(), ..Restoration::default() };
        let gained = transform().with_restoration(gain).to_bytes();
        for bad in [0, 15, 65] {
            assert!(refused_of(&gained, 7, bad).contains(&format!("a gain of {bad}/16, legal are 17 to 64")), "{bad}");
        }
        assert!(refused_of(&gained, 7, 16).contains("reserved"));
        assert!(refused_of(&gained, 5, 16).contains("content of version 16"));
    }

    #[test]
    fn a_gain_is_version_7_with_or_without_intra_weights() {
        let restoration = Restoration { gain: RestorationGain::new(24).unwrap(), ..strength(4) };
        for (kind, plain) in [(1, transform()), (3, learned())] {
            let predicted = plain.clone().with_intra_weights(vec![[64, -1, 0], [127, -128, 2]]).unwrap();
            for (kind, plain) in [(kind, plain), (kind + 8, predicted)] {
                let with = plain.clone().with_restoration(restoration);
                let (bytes, old) = (with.to_bytes(), plain.to_bytes());
                assert_eq!(bytes[4..8], [7, kind, 4, 24]);
                assert_eq!(bytes[8..bytes.len() - DIGEST], old[8..old.len() - DIGEST]);
                let read = Transform::from_bytes(&bytes, &Limits::default()).unwrap();
                assert_eq!((read.id(), read.restoration()), (with.id(), restoration));
                assert_eq!(read.intra_weights(), plain.intra_weights());
                every_flip_and_cut_is_refused(&bytes);
            }
        }
    }

    fn strength(sixteenths: u8) -> Restoration {
        RestorationStrength::new(sixteenths).unwrap().into()
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        every_flip_and_cut_is_refused(&transform().to_bytes());
        every_flip_and_cut_is_refused(&transform().with_probe(Probe::new(1.0, vec![3.0]).unwrap()).unwrap().to_bytes());
        every_flip_and_cut_is_refused(&learned().to_bytes());
    }

    fn every_flip_and_cut_is_refused(file: &[u8]) {
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut bad = file.to_vec();
                bad[at] ^= 1 << bit;
                assert!(Transform::from_bytes(&bad, &Limits::default()).is_err(), "byte {at} bit {bit}");
            }
            let error = Transform::from_bytes(&file[..at], &Limits::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InsufficientData, "cut at {at}");
        }
    }

    #[test]
    fn an_absurd_header_is_refused_before_allocation() {
        let mut file = transform().to_bytes();
        file[12..20].copy_from_slice(&[0xFF; 8]);
        assert_eq!(Transform::from_bytes(&file, &Limits::default()).unwrap_err().kind(), ErrorKind::InsufficientData);
    }

    #[test]
    fn a_learned_pair_is_version_3_with_both_networks_behind_the_variances() {
        let mut expected = Vec::new();
        expected.extend_from_slice(b"FCMT\x03\0\0\0");
        expected.extend_from_slice(&[2, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0]);
        expected.extend_from_slice(&[77, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0x10, 0x40]);
        expected.extend_from_slice(&[0, 0, 0, 0]);
        expected.extend_from_slice(&[1, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[0, 0, 0x40, 0x40, 0, 0, 0x80, 0x3F]);
        expected.extend_from_slice(b"\x04\0\0\0down\x08\0\0\0up again");
        let digest = Sha256::digest(&expected);
        expected.extend_from_slice(&digest);
        assert_eq!(learned().to_bytes(), expected);
        let read = Transform::from_bytes(&expected, &Limits::default()).unwrap();
        assert_eq!((read.id(), read.networks()), (learned().id(), learned().networks()));
        assert_eq!((read.components(), read.dimension(), read.samples()), (2, 3, 77));
        assert_eq!(read.id().0, expected[expected.len() - DIGEST..][..8]);
    }

    #[test]
    fn a_learned_pair_may_have_a_probe_before_its_networks() {
        let probe = Probe::new(-0.5, vec![1.0, 2.0]).unwrap();
        let with = learned().with_probe(probe.clone()).unwrap();
        let bytes = with.to_bytes();
        assert_eq!((bytes[4], &bytes[36..40]), (3, &[2, 0, 0, 0][..]));
        assert_eq!(bytes[72..84], [0, 0, 0, 0xBF, 0, 0, 0x80, 0x3F, 0, 0, 0, 0x40]);
        let read = Transform::from_bytes(&bytes, &Limits::default()).unwrap();
        assert_eq!((read.id(), read.probe(), read.networks()), (with.id(), Some(&probe), with.networks()));
    }

    #[test]
    fn an_absurd_length_of_a_network_is_refused_before_allocation() {
        for at in [72, 80] {
            let mut file = learned().to_bytes();
            file[at..at + 4].copy_from_slice(&[0xFF; 4]);
            let error = Transform::from_bytes(&file, &Limits::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InsufficientData, "length at byte {at}");
        }
    }
}
