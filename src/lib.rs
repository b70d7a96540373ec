//! GStreamer elements for Feature Coding for Machines.
