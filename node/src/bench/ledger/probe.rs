//! How fast the disk is: the figures beside it mean nothing without.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::bench::histogram::percentile;

const TIMES: usize = 200;

/// Median of an append of 4 KiB and its fdatasync, in milliseconds. Blocks.
pub fn fdatasync_ms(dir: &Path) -> std::io::Result<f64> {
    let path = dir.join("probe");
    let mut file = std::fs::File::create(&path)?;
    let mut times_ms = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let start = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times_ms.push(start.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(path)?;
    Ok(percentile(&mut times_ms, 0.5))
}
