//! The calendar that counts are read by: where local periods begin, and which of the kept buckets add up to them.
//!
//! 1. [`time`] has moments, [`utc_offset`] and [`time_zone`] how far local clocks are ahead of UTC.
//! 2. [`text`] parses and shows moments in local time.
//! 3. [`period`] says where the period that contains a moment begins, and where the next one does.
//! 4. [`tiling`] tiles such a period exactly with buckets, which are those of UTC.
//!
//! Pure: values in, values out. The present moment is a parameter.

pub mod time;
pub mod utc_offset;
pub mod time_zone;
pub mod text;
pub mod period;
pub mod tiling;
#[cfg(test)]
mod tests;
