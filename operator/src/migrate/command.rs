//! The command `migrate`, as the operator's binary and the kubectl plugin offer it: the manifest goes to standard output, what
//! a person has to read to standard error.

use std::{path::Path, time::Duration};

use super::{
    adopt::{AdoptError, Adoption, Patience, name_of},
    kinds,
    values::{Migrated, Options, ValuesError, migrate},
};
use crate::{
    args::MigrateArgs,
    offline::{cluster::Cluster, to_yaml},
};

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The file cannot be read.
    #[error(
        "{file} cannot be read: {problem}. Get the values with: helm get values RELEASE -n NAMESPACE --all -o yaml"
    )]
    File {
        /// As it was named.
        file: String,
        /// Why.
        problem: String,
    },
    /// The values cannot become an instance.
    #[error(transparent)]
    Values(#[from] ValuesError),
    /// The release cannot be taken over.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// The instance cannot be written; a bug.
    #[error("the instance cannot be written as YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
}

/// What was printed where.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The instance and what was not taken over.
    pub migrated: Migrated,
    /// The manifest as YAML, for standard output.
    pub yaml: String,
    /// What was not taken over, for standard error; empty if nothing.
    pub notes: String,
}

/// Turns the values file into a manifest.
///
/// # Errors
/// See [`MigrateError`].
pub fn convert(args: &MigrateArgs) -> Result<Converted, MigrateError> {
    let file =
        if args.values == Path::new("-") { "standard input".to_owned() } else { args.values.display().to_string() };
    let text = if args.values == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(&args.values)
    };
    let text = text.map_err(|error| MigrateError::File { file: file.clone(), problem: error.to_string() })?;
    let options =
        Options { name: args.name.clone(), namespace: args.namespace.clone(), adopting: args.adopt.is_some() };
    let migrated = migrate(&text, &file, &options)?;
    let yaml = to_yaml(&migrated.manifest)?;
    let mut notes = String::new();
    if !migrated.notes.is_empty() {
        notes.push_str(&format!("{file}: not taken over as it is:\n"));
        migrated.notes.iter().for_each(|note| notes.push_str(&format!("  {note}\n")));
    }
    Ok(Converted { migrated, yaml, notes })
}

/// Converts the values and takes the release over, or only tells how (without `--yes`); `tell` gets the notes and a line for
/// each step. Without `--name` the instance is called like the release's Deployment, so that every object keeps its name.
///
/// # Errors
/// See [`MigrateError`]; the same command goes on from there.
pub async fn adopt(
    args: &MigrateArgs,
    release: &str,
    cluster: Cluster,
    mut tell: impl FnMut(&str),
) -> Result<Converted, MigrateError> {
    let mut args = args.clone();
    let namespace = args.namespace.get_or_insert_with(|| cluster.namespace.clone()).clone();
    if args.name.is_none() {
        args.name = name_of(&cluster, &namespace, release).await?;
    }
    let converted = convert(&args)?;
    if !converted.notes.is_empty() {
        tell(converted.notes.trim_end());
    }
    let patience = Patience { step: Duration::from_secs(args.timeout), drain: Duration::from_secs(args.drain) };
    let instance = converted.migrated.instance.clone();
    let adoption = Adoption { cluster, release: release.to_owned(), namespace, instance, patience };
    let steps = adoption.plan().await?;
    if steps.is_empty() {
        tell(&format!("Nothing is left to do: {}/{} is the operator's.", adoption.namespace, adoption.name()));
        return Ok(converted);
    }
    tell(&format!(
        "The release {release} in namespace {} becomes CatalystInstance {}:",
        adoption.namespace,
        adoption.name()
    ));
    for (index, step) in steps.iter().enumerate() {
        tell(&format!("{:>3}. {step}", index + 1));
    }
    tell(&format!(
        "Of other kinds than {} nothing is touched; what the chart has made of them stays, and becomes nobody's. All that it has made is \
         listed, until its records are deleted, by: helm get manifest {release} -n {}",
        kinds::names(),
        adoption.namespace
    ));
    if !args.yes {
        tell("Nothing was changed. Run the same with --yes to carry it out.");
        return Ok(converted);
    }
    while let Some(step) = adoption.next(&mut |waiting| tell(waiting)).await? {
        tell(&format!("done: {step}"));
    }
    tell(&format!("{}/{} is the operator's.", adoption.namespace, adoption.name()));
    Ok(converted)
}
