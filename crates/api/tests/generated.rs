//! Whether the files that are made from the types, and the pages that explain reasons, are what the code says. Reads the
//! working tree; changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use weir_api::{manifest::manifests, reference::pages};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
}

/// File name → content of the YAML files in a folder.
fn yaml_files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{} cannot be read: {e}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let yaml = paths.filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    yaml.map(|path| (path.file_name().expect("a file").to_string_lossy().into_owned(), read(&path))).collect()
}

#[test]
fn the_definitions_are_what_the_types_say() {
    let made: BTreeMap<String, String> =
        manifests().expect("the types are valid").into_iter().map(|m| (m.file, m.yaml)).collect();
    for folder in ["crds", "charts/weir/files/crds"] {
        assert!(
            yaml_files(&root().join(folder)) == made,
            "{folder} is not what the Rust types say; run `make crds` and commit the result."
        );
    }
}

#[test]
fn the_reference_is_what_the_types_say() {
    for page in pages().expect("the types are valid") {
        let path = root().join("docs/reference").join(&page.file);
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == page.markdown,
            "docs/reference/{} is not what the Rust types say; run `make crds` and commit the result.",
            page.file
        );
    }
}

/// Where the operator words its conditions, events and decisions.
const SOURCES: [&str; 4] =
    ["src/controllers", "src/scaling", "crates/autoscaler/src/decision.rs", "crates/api/src/condition.rs"];
/// Where they are explained.
const PAGES: [&str; 3] = ["docs/conditions.md", "docs/events.md", "docs/scaling.md"];
/// Words in those sources that are Kubernetes' or the schema's own and no reasons of Weir.
const NOT_REASONS: [&str; 33] = [
    "Always",
    "Complete",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "Configured",
    "Down",
    "Equal",
    "ErrImageNeverPull",
    "ErrImagePull",
    "Exists",
    "False",
    "FallbackToLogsOnError",
    "Hold",
    "IfNotPresent",
    "ImagePullBackOff",
    "InvalidImageName",
    "Key",
    "Learned",
    "Never",
    "NoExecute",
    "NoSchedule",
    "None",
    "PodScheduled",
    "PreferNoSchedule",
    "ProgressDeadlineExceeded",
    "RollingUpdate",
    "RunContainerError",
    "RuntimeDefault",
    "SuccessCriteriaMet",
    "True",
    "Unknown",
    "Up",
];

fn rust_files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("{} cannot be read: {e}", path.display()));
        entries.for_each(|entry| rust_files(&entry.expect("a readable folder").path(), found));
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

/// Every text literal of the sources, without tests, that is one word in CamelCase.
fn words_of_the_code() -> BTreeSet<String> {
    let mut files = Vec::new();
    SOURCES.iter().for_each(|source| rust_files(&root().join(source), &mut files));
    assert!(files.len() > 10, "the sources have moved; correct SOURCES");
    let mut words = BTreeSet::new();
    for file in files {
        let text = read(&file);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let literals = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
        words.extend(literals.filter(|word| is_camel_case(word)).map(str::to_owned));
    }
    words
}

fn is_camel_case(word: &str) -> bool {
    word.len() > 1
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_alphanumeric())
        && word.contains(|c: char| c.is_ascii_lowercase())
}

#[test]
fn every_reason_in_the_code_is_explained() {
    let pages: String = PAGES.iter().map(|page| read(&root().join(page))).collect();
    let missing: Vec<String> = words_of_the_code()
        .into_iter()
        .filter(|word| !NOT_REASONS.contains(&word.as_str()) && !pages.contains(&format!("`{word}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "{missing:?} appear in the code and not in {PAGES:?}; explain them there, or add words that are no reasons to NOT_REASONS."
    );
}

#[test]
fn every_explained_reason_is_in_the_code() {
    let words = words_of_the_code();
    for page in PAGES {
        let text = read(&root().join(page));
        for row in text.lines().filter(|line| line.starts_with("| `")) {
            let first = row.split('|').nth(1).unwrap_or_default();
            for word in first.split('`').skip(1).step_by(2).filter(|word| is_camel_case(word)) {
                assert!(
                    words.contains(word),
                    "{page} explains `{word}`, which does not appear in the code any more."
                );
            }
        }
    }
}
