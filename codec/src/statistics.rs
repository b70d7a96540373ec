//! Global statistics of a tensor: mean and population standard deviation over all of its values.

/// Mean and population standard deviation of all values of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MeanStd {
    /// Mean.
    pub mean: f64,
    /// Standard deviation, divisor n.
    pub std_dev: f64,
}

/// Which statistics travel and what the decoder does with them (docs/bitstream.md, "Statistics").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StatisticsMode {
    /// Mean and standard deviation of every layer and of the fused tensor, binary32.
    #[default]
    ZScore,
    /// One pair for all layers and one for the fused tensor, bfloat16.
    Simplified,
    /// Energy compensation scaling: maximum minus mean of every layer of every frame, binary32.
    Ecs,
    /// Nothing is restored.
    None,
}

impl StatisticsMode {
    /// The name used in caps, properties and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            StatisticsMode::ZScore => "z-score",
            StatisticsMode::Simplified => "simplified",
            StatisticsMode::Ecs => "ecs",
            StatisticsMode::None => "none",
        }
    }

    /// All modes, default first.
    pub const ALL: [StatisticsMode; 4] = [Self::ZScore, Self::Simplified, Self::Ecs, Self::None];
}

impl std::str::FromStr for StatisticsMode {
    type Err = crate::Error;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|m| m.name() == s).ok_or_else(|| {
            crate::Error::config(format!("statistics mode {s:?}, legal are z-score, simplified, ecs, none"))
        })
    }
}

/// Statistics of one frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FrameStatistics {
    /// One pair a layer, in order.
    pub layers: Vec<MeanStd>,
    /// Of the fused tensor.
    pub fused: MeanStd,
}
