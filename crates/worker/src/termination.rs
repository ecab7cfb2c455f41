//! The termination message: the last word of a container, which the operator reads from the pod's status. Kubernetes
//! keeps 4096 bytes of it.

use std::{fs, path::Path};

use weir_model::{names, worker_status::ProduceStatus};

use crate::cli::Role;

/// Bytes of a fault that certainly fit beside the counts, even when every character needs six bytes in JSON.
const FAULT_LIMIT: usize = 600;

/// Writes the final counts. A failure is logged, because the exit code still tells the outcome.
pub(crate) fn write(path: &Path, status: &ProduceStatus) {
    let mut status = status.clone();
    truncate(&mut status.fault);
    let text = serde_json::to_string(&status).expect("numbers and a string always serialize");
    write_text(path, &text);
}

/// Writes why the worker could not start.
pub(crate) fn write_refusal(role: &Role, sentence: &str) {
    let path = &role.options().termination_message;
    match role {
        Role::Produce(_) => {
            write(path, &ProduceStatus { fault: sentence.to_owned(), ..ProduceStatus::default() });
        }
        Role::Consume(_) => write_text(path, sentence),
    }
}

/// Writes a sentence as it is.
pub(crate) fn write_text(path: &Path, text: &str) {
    // Kubernetes creates its file before the container starts; elsewhere nobody would read it.
    if path == Path::new(names::TERMINATION_MESSAGE_PATH) && !path.exists() {
        return;
    }
    if let Err(error) = fs::write(path, text) {
        tracing::warn!("The termination message cannot be written to {}: {error}.", path.display());
    }
}

fn truncate(text: &mut String) {
    if text.len() > FAULT_LIMIT {
        text.truncate(text.floor_char_boundary(FAULT_LIMIT));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_never_exceeds_what_kubernetes_keeps() {
        let path = std::env::temp_dir().join(format!("weir-worker-termination-{}", std::process::id()));
        let status = ProduceStatus { fault: "\u{1}ä".repeat(4000), ..ProduceStatus::default() };
        write(&path, &status);
        let text = fs::read_to_string(&path).expect("it was just written");
        assert!(text.len() <= 4096, "{} bytes", text.len());
        assert!(serde_json::from_str::<ProduceStatus>(&text).is_ok());
        fs::remove_file(&path).expect("the file is ours");
    }
}
