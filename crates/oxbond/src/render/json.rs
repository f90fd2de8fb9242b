//! Status as JSON: a versioned envelope around the reports.

use oxbond_core::status::STATUS_VERSION;
use serde::Serialize;

use crate::report::BondReport;

#[derive(Serialize)]
struct Envelope<'a> {
    version: u32,
    bonds: &'a [BondReport],
}

/// `{"version":1,"bonds":[...]}`, indented, with a line break at the end.
///
/// # Errors
///
/// None of the reports' types can fail to encode; an error is a bug of ours.
pub(crate) fn json(bonds: &[BondReport]) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&Envelope {
        version: STATUS_VERSION,
        bonds,
    })
    .map(|text| text + "\n")
}
