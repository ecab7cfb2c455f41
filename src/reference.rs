//! Writes the generated part of `docs/`: one page per kind, and the command line. Called by `main` only.

use std::{fmt::Write as _, path::Path};

use anyhow::Context as _;
use clap::CommandFactory;
use weir_api::reference::{GENERATED, Page, pages};

use crate::cli::Arguments;

/// Writes every page into `folder`, which is created if it does not exist.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    for page in pages()?.into_iter().chain([command_line()]) {
        let path = folder.join(&page.file);
        std::fs::write(&path, &page.markdown)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

/// The long help of `weir` and of its commands.
fn command_line() -> Page {
    // The values of this process's environment are nobody else's business.
    let mut command = Arguments::command()
        .mut_subcommands(|command| command.mut_args(|argument| argument.hide_env_values(true)));
    command.build();
    let mut markdown = format!("{GENERATED}# weir\n\n");
    let _ = writeln!(
        markdown,
        "An option that names an environment variable (`[env: …]`) may be given by it; the command line wins.\n"
    );
    let _ = writeln!(markdown, "```text\n{}\n```", help(&mut command));
    for subcommand in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let name = subcommand.get_name().to_owned();
        let _ = writeln!(markdown, "\n## weir {name}\n\n```text\n{}\n```", help(subcommand));
    }
    Page { file: "cli.md".to_owned(), markdown }
}

fn help(command: &mut clap::Command) -> String {
    let text = command.render_long_help().to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_command_line_is_what_the_program_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/cli.md");
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == command_line().markdown,
            "docs/reference/cli.md is not what the program says; run `make crds` and commit the result."
        );
    }
}
