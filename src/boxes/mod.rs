//! What the elements that handle boxes share: their caps, how long a line may be, the scaling of pictures as a property.

pub mod caps;
mod numbering;

pub(crate) use numbering::Numbering;

use fcm_analytics::geometry;
use gst::glib;

/// How a picture was brought to the size of a network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstFcmPictureScaling")]
pub enum PictureScaling {
    /// Both sides to those of the input.
    #[enum_value(name = "Width and height each to the input's: the aspect ratio changes", nick = "stretch")]
    Stretch = 0,
    /// At the top left.
    #[default]
    #[enum_value(
        name = "Aspect ratio kept, at the top left, padded at the right and at the bottom",
        nick = "letterbox"
    )]
    Letterbox = 1,
    /// In the middle.
    #[enum_value(name = "Aspect ratio kept, in the middle, padded on both sides", nick = "letterbox-centred")]
    LetterboxCentred = 2,
}

impl From<PictureScaling> for geometry::Scaling {
    fn from(scaling: PictureScaling) -> Self {
        match scaling {
            PictureScaling::Stretch => Self::Stretch,
            PictureScaling::Letterbox => Self::Letterbox,
            PictureScaling::LetterboxCentred => Self::LetterboxCentred,
        }
    }
}
