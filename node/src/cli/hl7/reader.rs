//! How the file is read: what a feed's configuration says, as options.

use std::path::PathBuf;

use anyhow::Context;
use clinical::{CodeTable, Feed, Time};

use crate::cli::Usage;

/// What a feed would know of its messages
#[derive(clap::Args)]
pub struct Reader {
    /// Assigning authority of patient ids that name none
    #[arg(long, value_name = "NAME", default_value = "")]
    authority: String,
    /// IANA time zone of times without an offset
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,
    /// Charset of messages whose MSH-18 is empty
    #[arg(long, value_name = "LABEL")]
    charset: Option<String>,
    /// Code table (CSV) from local codes to LOINC and UCUM
    #[arg(long, value_name = "FILE")]
    codes: Option<PathBuf>,
}

impl Reader {
    pub fn feed(&self) -> anyhow::Result<Feed> {
        if !clinical::is_known_zone(&self.zone) {
            return Err(
                Usage(format!("unknown time zone {}; use a name such as Europe/Zurich", self.zone)).into()
            );
        }
        let codes = match &self.codes {
            Some(file) => read_codes(file)?,
            None => CodeTable::empty(),
        };
        let (authority, zone, charset) = (self.authority.clone(), self.zone.clone(), self.charset.clone());
        Ok(Feed { authority, zone, charset, codes, ..Feed::default() })
    }
}

fn read_codes(file: &std::path::Path) -> anyhow::Result<CodeTable> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    CodeTable::parse(&text).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(|error| format!("{}: {error}", file.display())).collect();
        anyhow::anyhow!("{}", all.join("\n"))
    })
}

/// Receipt is now: the file has just come in.
pub fn now() -> Time {
    Time(jiff::Timestamp::now().as_millisecond())
}
