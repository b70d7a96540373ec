//! Passes commit and release date on to the plugin description that gst-inspect shows.

fn main() {
    gst_plugin_version_helper::info()
}
