//! What a box with its text looks like.

use super::canvas::{Canvas, Colour};
use fcm_analytics::json;
use std::fmt::Write;

/// Colours that differ well, one after the other for the numbers of the tracks.
const COLOURS: [Colour; 12] = [
    [230, 25, 75],
    [60, 180, 75],
    [255, 225, 25],
    [0, 130, 200],
    [245, 130, 48],
    [145, 30, 180],
    [70, 240, 240],
    [240, 50, 230],
    [210, 245, 60],
    [0, 128, 128],
    [170, 110, 40],
    [250, 190, 212],
];
/// Width and height of a letter in dots.
const LETTER: i32 = 8;
/// Longest text, in letters.
const MAX_TEXT: usize = 40;
/// A line this share of the picture's height, and a dot of a letter that, unless something else is wished.
const HEIGHTS_A_LINE: i32 = 270;
const HEIGHTS_A_DOT: i32 = 480;

/// How boxes are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    /// Thickness of the lines in pixels, 0 = by the height of the picture.
    pub line: u32,
    /// Size of a dot of the letters in pixels, 0 = by the height of the picture.
    pub dot: u32,
    /// Whether number, name and score are written.
    pub text: bool,
}

/// Tracks differ by number, detections by class.
fn colour(object: &json::Object) -> Colour {
    let number = object.id.unwrap_or_else(|| u64::from(object.class) + 1);
    COLOURS[(number.wrapping_sub(1) % COLOURS.len() as u64) as usize]
}

/// Black on bright colours, white on dark ones.
fn ink(colour: Colour) -> Colour {
    let [r, g, b] = colour.map(u32::from);
    if 299 * r + 587 * g + 114 * b > 128_000 { [0; 3] } else { [255; 3] }
}

fn write_text(text: &mut String, object: &json::Object) {
    text.clear();
    // Writing to a string cannot fail.
    if let Some(id) = object.id {
        let _ = write!(text, "{id} ");
    }
    match &object.label {
        Some(label) => text.push_str(label),
        None => {
            let _ = write!(text, "class {}", object.class);
        }
    }
    let _ = write!(text, " {:.2}", object.score);
}

/// The dots of a letter, a byte a row, the lowest bit at the left.
fn letter(character: char) -> [u8; 8] {
    let table = &font8x8::legacy::BASIC_LEGACY;
    table.get(character as usize).copied().unwrap_or(table['?' as usize])
}

fn draw_text(canvas: &mut Canvas<'_>, x: i32, y: i32, dot: i32, text: &str, ink: Colour) {
    for (n, character) in (0..).zip(text.chars().take(MAX_TEXT)) {
        for (row, bits) in (0..).zip(letter(character)) {
            for column in (0..LETTER).filter(|column| bits >> column & 1 == 1) {
                let (left, top) = (x + (n * LETTER + column) * dot, y + row * dot);
                canvas.fill(left, top, left + dot, top + dot, ink);
            }
        }
    }
}

/// Draws all boxes of a frame; `text` is memory that is used again.
pub(super) fn draw(canvas: &mut Canvas<'_>, frame: &json::Frame, style: Style, text: &mut String) {
    let scale = |from: u32, to: i32| if from == 0 { 1.0 } else { to as f32 / from as f32 };
    let (scale_x, scale_y) = (scale(frame.width, canvas.width()), scale(frame.height, canvas.height()));
    let chosen = |wish: u32, heights: i32, canvas: &Canvas<'_>| match wish {
        0 => (canvas.height() / heights).max(1),
        wish => wish as i32,
    };
    let line = chosen(style.line, HEIGHTS_A_LINE, canvas);
    let dot = chosen(style.dot, HEIGHTS_A_DOT, canvas);
    for object in &frame.objects {
        let rect = object.rect();
        if !rect.is_finite() {
            continue;
        }
        // Far outside of any picture is outside; the sums below must not overflow.
        let pixel = |value: f32| value.round().clamp(-1e6, 1e6) as i32;
        let (left, right) = (pixel(rect.x * scale_x), pixel(rect.right() * scale_x));
        let (top, bottom) = (pixel(rect.y * scale_y), pixel(rect.bottom() * scale_y));
        if right <= left || bottom <= top {
            continue;
        }
        let colour = colour(object);
        canvas.fill(left, top, right, (top + line).min(bottom), colour);
        canvas.fill(left, (bottom - line).max(top), right, bottom, colour);
        canvas.fill(left, top, (left + line).min(right), bottom, colour);
        canvas.fill((right - line).max(left), top, right, bottom, colour);
        if style.text {
            write_text(text, object);
            let letters = text.chars().count().min(MAX_TEXT) as i32;
            let (width, height) = ((letters * LETTER + 2) * dot, (LETTER + 2) * dot);
            // Above the box, or in it where the picture ends.
            let top = if top >= height { top - height } else { top };
            canvas.fill(left, top, left + width, top + height, colour);
            draw_text(canvas, left + dot, top + dot, dot, text, ink(colour));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst_video::{VideoFormat, VideoFrameRef, VideoInfo};

    const BACK: u8 = 9;
    const WIDTH: usize = 96;

    fn object(x: f32, y: f32, w: f32, h: f32) -> json::Object {
        json::Object { id: Some(1), class: 0, label: Some("é".into()), score: 0.5, x, y, w, h }
    }

    /// Draws on a grey picture of 96 × 48 pixels.
    fn drawn(frame: &json::Frame, style: Style) -> Vec<u8> {
        gst::init().unwrap();
        let info = VideoInfo::builder(VideoFormat::Gray8, WIDTH as u32, 48).build().unwrap();
        let mut buffer = gst::Buffer::from_mut_slice(vec![BACK; info.size()]);
        let mapped = VideoFrameRef::from_buffer_ref_writable(buffer.get_mut().unwrap(), &info).unwrap();
        draw(&mut Canvas::new(mapped), frame, style, &mut String::new());
        buffer.map_readable().unwrap().to_vec()
    }

    #[test]
    fn outlines_lie_on_the_edges_of_the_box() {
        let frame =
            json::Frame { width: 96, height: 48, objects: vec![object(10.0, 20.0, 30.0, 16.0)], ..Default::default() };
        let picture = drawn(&frame, Style { line: 2, dot: 0, text: false });
        for (x, y) in (0..WIDTH).flat_map(|x| (0..48).map(move |y| (x, y))) {
            let inside =
                |margin: usize| (10 + margin..40 - margin).contains(&x) && (20 + margin..36 - margin).contains(&y);
            assert_eq!(picture[y * WIDTH + x] != BACK, inside(0) && !inside(2), "{x}, {y}");
        }
    }

    #[test]
    fn boxes_are_scaled_to_the_picture() {
        let frame =
            json::Frame { width: 192, height: 48, objects: vec![object(20.0, 20.0, 60.0, 16.0)], ..Default::default() };
        let same =
            json::Frame { width: 96, height: 48, objects: vec![object(10.0, 20.0, 30.0, 16.0)], ..Default::default() };
        let style = Style { line: 1, dot: 1, text: true };
        assert_eq!(drawn(&frame, style), drawn(&same, style));
    }

    #[test]
    fn text_is_above_the_box_or_in_it() {
        let style = Style { line: 1, dot: 1, text: true };
        let at = |y: f32| {
            let objects = vec![object(2.0, y, 30.0, 20.0)];
            drawn(&json::Frame { width: 96, height: 48, objects, ..Default::default() }, style)
        };
        let (above, inside) = (at(20.0), at(5.0));
        // "1 ? 0.50" in its frame of one dot.
        assert_eq!(above[10 * WIDTH..20 * WIDTH], inside[5 * WIDTH..15 * WIDTH]);
        let ink = above[11 * WIDTH + 3..19 * WIDTH].iter().filter(|&&v| v == 235).count();
        let expected: u32 = "1 ? 0.50".chars().flat_map(letter).map(u8::count_ones).sum();
        assert_eq!(ink as u32, expected);
    }

    #[test]
    fn wild_boxes_harm_nothing() {
        let wild = [(f32::NAN, 0.0), (f32::INFINITY, 0.0), (1e30, 0.0), (-1e30, 1e30), (0.0, -5.0), (-2e6, 4e6)];
        for (x, w) in wild {
            let frame =
                json::Frame { width: 96, height: 48, objects: vec![object(x, 5.0, w, 6.0)], ..Default::default() };
            drawn(&frame, Style { line: 3, dot: 30, text: true });
        }
        let nothing = json::Frame { objects: vec![object(5.0, 5.0, 0.0, 5.0)], ..Default::default() };
        assert!(drawn(&nothing, Style { line: 3, dot: 1, text: true }).iter().all(|&v| v == BACK));
    }
}
