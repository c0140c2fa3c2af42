//! Models by their names on the Hugging Face hub, wherever a model file can be given.

use std::path::PathBuf;

use intone_train::fetch::{HUB_PREFIX, Hub, HubModel, Options};

use crate::data::show;
use crate::progress::bar;

/// Puts the file in the hub's cache in place of `hf:OWNER/NAME`, and fetches it where it is not there. Other paths stay.
///
/// # Errors
/// What is no such name, or cannot be had.
pub(crate) fn localise(model: &mut PathBuf) -> anyhow::Result<()> {
    let Some(text) = model.to_str().filter(|text| text.starts_with(HUB_PREFIX)) else { return Ok(()) };
    let wanted: HubModel = text.parse()?;
    let bar = bar(None, "{msg} {spinner}").with_message(text.to_owned());
    let fetched = Hub::from_env()?.fetch(&wanted, &Options::default(), &|event| show(&bar, &event));
    bar.finish_and_clear();
    *model = fetched?;
    Ok(())
}
