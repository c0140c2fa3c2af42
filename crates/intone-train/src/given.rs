//! The files that a run is given beside its clips. Configurations know them by their paths; a run that is resumed must find the
//! same in them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::{Config, ModelConfig};
use crate::error::{Error, Result};
use crate::fetch::sha256;

/// SHA-256 of the files' content, lower-case hexadecimal. None where there is no file, or in a run of an older version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Given {
    /// Of the published weights that the encoder begins with, `model.init`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) init_sha256: Option<String>,
    /// Of what another system says of the training clips, `training.soft_targets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) soft_targets_sha256: Option<String>,
}

impl Given {
    /// What the files of a configuration hold now.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn of(config: &Config) -> Result<Given> {
        let digest = |path: &Path| sha256(path).map(|sum| sum.to_string());
        Ok(Given {
            init_sha256: init(config).map(digest).transpose()?,
            soft_targets_sha256: config.training.soft_targets.as_deref().map(digest).transpose()?,
        })
    }

    /// Refuses files that hold something else than when the run began.
    ///
    /// # Errors
    /// Such a file, by its key and path; one that cannot be read.
    pub(crate) fn check(&self, config: &Config) -> Result<()> {
        let files = [
            ("model.init", init(config), &self.init_sha256),
            ("training.soft_targets", config.training.soft_targets.as_deref(), &self.soft_targets_sha256),
        ];
        for (key, path, expected) in files {
            let (Some(path), Some(expected)) = (path, expected) else { continue };
            let actual = sha256(path)?.to_string();
            if actual != *expected {
                return Err(Error::Config {
                    key: key.into(),
                    expected: format!("the file that the run began with, SHA-256 {expected}"),
                    actual: format!("{} with SHA-256 {actual}", path.display()),
                });
            }
        }
        Ok(())
    }
}

/// Where the published weights lie.
fn init(config: &Config) -> Option<&Path> {
    match &config.model {
        ModelConfig::Encoder(model) => model.init.as_deref(),
        ModelConfig::Vgg { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_is_refused_by_key_and_file() {
        let dir = tempfile::tempdir().unwrap();
        let (weights, targets) = (dir.path().join("weights"), dir.path().join("targets.csv"));
        std::fs::write(&weights, "abc").unwrap();
        std::fs::write(&targets, "").unwrap();
        let mut config = Config::whisper_tiny();
        assert_eq!(Given::of(&config).unwrap(), Given::default());
        config.training.soft_targets = Some(targets.clone());
        let ModelConfig::Encoder(model) = &mut config.model else { panic!("{config:?}") };
        model.init = Some(weights.clone());
        let given = Given::of(&config).unwrap();
        // FIPS 180-2, B.1.
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(given.init_sha256.as_deref(), Some(of_abc));
        given.check(&config).unwrap();

        let refused = |given: &Given| given.check(&config).unwrap_err().to_string();
        std::fs::write(&targets, "x").unwrap();
        let message = refused(&given);
        assert!(
            message.starts_with("training.soft_targets: expected") && message.contains("targets.csv"),
            "{message}"
        );
        std::fs::write(&weights, "abd").unwrap();
        let message = refused(&given);
        assert!(message.contains(of_abc) && message.contains("weights with SHA-256 a52d159f"), "{message}");
        std::fs::remove_file(&weights).unwrap();
        assert!(refused(&given).contains("weights"));
        // A run of an older version knows nothing of its files.
        Given::default().check(&config).unwrap();
    }
}
