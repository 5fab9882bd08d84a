//! The web console. For now one static page that says what runs here and where its API is;
//! the console itself comes with the log page. It can do nothing that the documented API
//! cannot.

/// The page at `/`: HTML without scripts and without anything loaded from elsewhere.
#[must_use]
pub const fn landing_page() -> &'static str {
    include_str!("landing.html")
}

#[cfg(test)]
mod tests {
    use super::landing_page;

    #[test]
    fn loads_nothing_and_runs_nothing() {
        for forbidden in ["<script", "src=", "http://", "https://", "@import"] {
            assert!(!landing_page().contains(forbidden), "{forbidden}");
        }
    }
}
