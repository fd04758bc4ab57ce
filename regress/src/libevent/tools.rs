//! The programs that build libevent, the libraries that it can use, and how to install what is
//! missing.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The first cmake with `-S` and `-B`.
const OLDEST_CMAKE: (u32, u32) = (3, 13);

#[derive(Debug)]
pub(crate) struct Tools {
    pub(super) cmake: (u32, u32),
    /// How cmake calls its generator, if it is not the usual one.
    pub(super) generator: Option<&'static str>,
    /// The compiler's own line about its version: another compiler means another build.
    pub(super) compiler: String,
    pub(crate) python: PathBuf,
    pub(super) openssl: bool,
    pub(super) zlib: bool,
}

/// Something that a build needs or can use, with its package's name in each family of systems.
struct Part {
    what: &'static str,
    packages: [&'static str; SYSTEMS.len()],
}

/// Families of systems by the ID (or ID_LIKE) of os-release, and their command.
const SYSTEMS: [(&[&str], &str); 5] = [
    (&["debian", "ubuntu"], "apt-get install"),
    (&["fedora", "rhel", "centos"], "dnf install"),
    (&["arch"], "pacman -S"),
    (&["alpine"], "apk add"),
    (&["suse", "opensuse"], "zypper install"),
];

const CMAKE: Part = Part { what: "cmake (3.13 or later)", packages: ["cmake"; 5] };
const COMPILER: Part = Part {
    what: "a C compiler (cc, or what CC names)",
    packages: ["gcc libc6-dev", "gcc", "gcc", "gcc musl-dev", "gcc"],
};
const MAKE: Part = Part { what: "make or ninja", packages: ["make"; 5] };
const PYTHON: Part = Part {
    what: "python3 (it generates a part of libevent's tests)",
    packages: ["python3", "python3", "python", "python3", "python3"],
};
const OPENSSL: Part = Part {
    what: "OpenSSL's headers",
    packages: ["libssl-dev", "openssl-devel", "openssl", "openssl-dev", "libopenssl-devel"],
};
const ZLIB: Part = Part {
    what: "zlib's headers",
    packages: ["zlib1g-dev", "zlib-devel", "zlib", "zlib-dev", "zlib-devel"],
};

impl Tools {
    /// Looks for everything at once, so that one error names all that is missing.
    ///
    /// # Errors
    /// If something that is needed is missing; says how to install it.
    pub(crate) fn find() -> Result<Self> {
        let mut missing = Vec::new();
        let mut need = |found: bool, part: Part| {
            if !found {
                missing.push(part);
            }
        };

        let cmake = said(Command::new("cmake").arg("--version"));
        let version = cmake.as_deref().and_then(cmake_version);
        need(version.is_some_and(|v| v >= OLDEST_CMAKE), CMAKE);

        let compiler = said(Command::new(compiler_command()).arg("--version"));
        need(compiler.is_some(), COMPILER);

        let generator = match std::env::var_os("CMAKE_GENERATOR") {
            // cmake reads the variable itself.
            Some(_) => Some(None),
            None if which::which("gmake").is_ok() || which::which("make").is_ok() => Some(None),
            None if which::which("ninja").is_ok() => Some(Some("Ninja")),
            None => None,
        };
        need(generator.is_some(), MAKE);

        let python = which::which("python3").ok();
        need(python.is_some(), PYTHON);

        let (Some(cmake), Some(compiler), Some(generator), Some(python), true) =
            (version, compiler, generator, python, missing.is_empty())
        else {
            let old = version
                .filter(|v| *v < OLDEST_CMAKE)
                .map(|(major, minor)| format!(" (found cmake {major}.{minor})"));
            bail!("libevent cannot be built here{}:{}", old.unwrap_or_default(), advice(&missing));
        };
        Ok(Self {
            cmake,
            generator,
            compiler: compiler.lines().next().unwrap_or_default().to_owned(),
            python,
            openssl: links("openssl/ssl.h", &["-lssl", "-lcrypto"])?,
            zlib: links("zlib.h", &["-lz"])?,
        })
    }

    /// Which tests cannot be built, and why.
    pub(crate) fn left_out(&self) -> Vec<(String, String)> {
        [
            (self.openssl, OPENSSL, "the tests of ssl/ and of https"),
            (self.zlib, ZLIB, "the test of compressed buffers"),
        ]
        .into_iter()
        .filter(|(found, ..)| !found)
        .map(|(_, part, tests)| (tests.to_owned(), format!("missing:{}", advice(&[part]))))
        .collect()
    }
}

fn compiler_command() -> OsString {
    std::env::var_os("CC").filter(|cc| !cc.is_empty()).unwrap_or_else(|| "cc".into())
}

/// What a command prints, if it exists and succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads "cmake version 3.25.1" or "cmake version 4.0.0-rc2".
fn cmake_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("cmake version ")?.split('.');
    Some((numbers.next()?.trim().parse().ok()?, numbers.next()?.trim().parse().ok()?))
}

/// Whether a program that includes `header` compiles and links: what a build needs of a library.
fn links(header: &str, libraries: &[&str]) -> Result<bool> {
    let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
    let file = dir.path().join("try.c");
    let text = format!("#include <stdio.h>\n#include <{header}>\nint main(void) {{ return 0; }}\n");
    std::fs::write(&file, text).context("cannot write a temporary file")?;
    let status = Command::new(compiler_command())
        .arg(&file)
        .arg("-o")
        .arg(dir.path().join("try"))
        .args(libraries)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot start the C compiler")?;
    Ok(status.success())
}

/// "\n  make or ninja: apt-get install make" for each part.
fn advice(parts: &[Part]) -> String {
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    advice_for(&os_release, parts)
}

fn advice_for(os_release: &str, parts: &[Part]) -> String {
    let system = system(os_release);
    parts.iter().fold(String::new(), |mut text, part| {
        let how = match system {
            Some(i) => format!(": {} {}", SYSTEMS[i].1, part.packages[i]),
            None => " (install it with your system's package manager)".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {}{how}", part.what);
        text
    })
}

/// The index of the family in [`SYSTEMS`]: by ID first, then by ID_LIKE.
fn system(os_release: &str) -> Option<usize> {
    ["ID=", "ID_LIKE="].iter().find_map(|key| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key))?;
        let mut ids = line.trim_matches(['"', '\'']).split_whitespace();
        ids.find_map(|id| SYSTEMS.iter().position(|(known, _)| known.contains(&id)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_cmake() {
        assert_eq!(cmake_version("cmake version 3.25.1\n\nCMake suite\n"), Some((3, 25)));
        assert_eq!(cmake_version("cmake version 4.0.0-rc2\n"), Some((4, 0)));
        assert_eq!(cmake_version("cmake3 version 3.20\n"), None);
        assert!(Some((3, 9)) < Some(OLDEST_CMAKE) && Some((4, 0)) > Some(OLDEST_CMAKE));
    }

    #[test]
    fn advice_fits_the_system() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n";
        assert_eq!(
            advice_for(debian, &[MAKE, PYTHON]),
            "\n  make or ninja: apt-get install make\n  python3 (it generates a part of \
             libevent's tests): apt-get install python3"
        );
        let rocky = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n";
        assert!(advice_for(rocky, &[OPENSSL]).ends_with("dnf install openssl-devel"));
        let mint = "ID_LIKE=ubuntu\nID=linuxmint\n";
        assert!(advice_for(mint, &[ZLIB]).ends_with("apt-get install zlib1g-dev"));
        assert!(advice_for("", &[CMAKE]).contains("package manager"));
    }

    #[test]
    fn a_header_that_does_not_exist_does_not_link() {
        if which::which("cc").is_err() {
            println!("skipped: no C compiler");
            return;
        }
        assert!(links("stdio.h", &[]).unwrap());
        assert!(!links("no/such/header.h", &[]).unwrap());
        assert!(!links("stdio.h", &["-lno_such_library_here"]).unwrap());
    }
}
