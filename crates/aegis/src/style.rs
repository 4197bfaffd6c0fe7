//! Colours, where somebody is looking: on a terminal, unless `NO_COLOR` (<https://no-color.org>) or `TERM=dumb` says no.

use std::io::IsTerminal;

use owo_colors::OwoColorize;

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    coloured: bool,
}

impl Style {
    /// What suits standard output.
    pub(crate) fn stdout() -> Self {
        Self::for_stream(std::io::stdout().is_terminal())
    }

    /// What suits standard error.
    pub(crate) fn stderr() -> Self {
        Self::for_stream(std::io::stderr().is_terminal())
    }

    fn for_stream(terminal: bool) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { coloured: terminal && !unwanted }
    }

    /// No colours.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { coloured: false }
    }

    /// Colours.
    #[cfg(test)]
    pub(crate) fn coloured() -> Self {
        Self { coloured: true }
    }

    /// Whether it colours.
    pub(crate) fn is_coloured(self) -> bool {
        self.coloured
    }

    pub(crate) fn bold(self, text: &str) -> String {
        if self.coloured { text.bold().to_string() } else { text.to_owned() }
    }

    pub(crate) fn dim(self, text: &str) -> String {
        if self.coloured { text.dimmed().to_string() } else { text.to_owned() }
    }

    pub(crate) fn red(self, text: &str) -> String {
        if self.coloured { text.red().bold().to_string() } else { text.to_owned() }
    }

    pub(crate) fn green(self, text: &str) -> String {
        if self.coloured { text.green().bold().to_string() } else { text.to_owned() }
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        if self.coloured { text.yellow().bold().to_string() } else { text.to_owned() }
    }

    pub(crate) fn blue(self, text: &str) -> String {
        if self.coloured { text.blue().bold().to_string() } else { text.to_owned() }
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        if self.coloured { text.cyan().bold().to_string() } else { text.to_owned() }
    }
}
