//! Where the command line keeps compiled code.

use std::ffi::OsString;
use std::path::PathBuf;

/// Names the folder of compiled code; empty: there is none.
const VARIABLE: &str = "WFHOST_CACHE_DIR";

/// The folder that the environment asks for, or else the usual one of the user.
pub(super) fn folder() -> Option<PathBuf> {
    folder_in(|name| std::env::var_os(name))
}

fn folder_in(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(asked) = variable(VARIABLE) {
        return (!asked.is_empty()).then(|| asked.into());
    }
    // The XDG Base Directory Specification has relative paths ignored.
    let absolute = |name: &str| {
        let path = variable(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let of_user = absolute("XDG_CACHE_HOME");
    let of_user = of_user.or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    of_user.map(|caches| caches.join("wfhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], folder: Option<&str>) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| value.into())
        };
        assert_eq!(folder_in(variable), folder.map(PathBuf::from));
    }

    #[test]
    fn the_folder_is_the_one_asked_for_or_that_of_the_user() {
        let (home, xdg) = (("HOME", "/home/ada"), ("XDG_CACHE_HOME", "/caches"));
        check(&[], None);
        check(&[home], Some("/home/ada/.cache/wfhost"));
        check(&[home, xdg], Some("/caches/wfhost"));
        check(
            &[home, ("XDG_CACHE_HOME", "caches")],
            Some("/home/ada/.cache/wfhost"),
        );
        check(&[("HOME", "")], None);
        check(&[home, xdg, (VARIABLE, "here")], Some("here"));
        check(&[home, xdg, (VARIABLE, "")], None);
    }
}
