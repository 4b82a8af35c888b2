//! The addresses of the processes of a cluster.

use std::net::IpAddr;

use anyhow::{Context, bail, ensure};
use schema::redact_address;

/// Addresses `host:port`, in the order of the processes' numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Reads a comma-separated list, or a file with one address a line. In a file, empty lines and lines with `#` are skipped.
    pub fn read(given: &str) -> anyhow::Result<Self> {
        if given.contains(',') {
            let items = given.split(',').map(str::trim).filter(|item| !item.is_empty());
            return Hosts::of("the list of hosts", items.map(|item| ("the list of hosts".to_owned(), item)));
        }
        let text = std::fs::read_to_string(given)
            .with_context(|| format!("cannot read the hosts in {}", redact_address(given)))?;
        // Some editors write a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let lines = text.lines().enumerate().map(|(at, line)| (format!("{given}:{}", at + 1), line.trim()));
        Hosts::of(given, lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')))
    }

    fn of<'a>(source: &str, items: impl Iterator<Item = (String, &'a str)>) -> anyhow::Result<Self> {
        let mut hosts: Vec<String> = Vec::new();
        for (origin, item) in items {
            if let Err(reason) = check_address(item) {
                bail!(
                    "{origin}: `{}` is not an address{reason}: write host:port, as in 10.0.0.7:2101, node1:2101 or \
                     [fd00::7]:2101",
                    redact_address(item)
                );
            }
            ensure!(
                !hosts.iter().any(|host| host == item),
                "{origin}: {item} is listed twice, but each process needs its own address"
            );
            hosts.push(item.to_owned());
        }
        ensure!(!hosts.is_empty(), "{source}: no address found; write one host:port a line, process 0 first");
        Ok(Hosts(hosts))
    }

    /// Number of processes, at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Address of a process, as it was given.
    pub fn address(&self, process: usize) -> &str {
        &self.0[process]
    }
}

/// Fails with the end of a sentence.
fn check_address(text: &str) -> Result<(), &'static str> {
    let Some((host, port)) = text.rsplit_once(':') else { return Err(", the port is missing") };
    let is_host = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']').is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == ':' || c == '/'),
    };
    if !is_host {
        return Err("");
    }
    if port.parse::<u16>().is_ok_and(|port| port > 0) { Ok(()) } else { Err(", a port is a number from 1 to 65535") }
}

/// Parses the number of a process: a number, or the name of a pod of a stateful set, which ends in `-NUMBER`.
pub fn process_number(text: &str) -> Option<usize> {
    let digits = match text.rsplit_once('-') {
        // A negative number is not a name.
        Some(("", _)) => return None,
        Some((_, ordinal)) => ordinal,
        None => text,
    };
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// Whether an address can be reached only from this machine or a private network.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            // 100.64.0.0/10 is used by carriers and by overlay networks.
            ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip
            .to_ipv4_mapped()
            .map_or(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(), |mapped| {
                is_private(mapped.into())
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_file_and_a_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        std::fs::write(&path, "# ours\n node0:2101 \n\n[fd00::7]:2102\n10.0.0.3:1\n").unwrap();
        let hosts = Hosts::read(path.to_str().unwrap()).unwrap();
        assert_eq!((hosts.len(), hosts.address(1)), (3, "[fd00::7]:2102"));
        std::fs::write(&path, "\u{feff}node0:2101\r\n\r\n[fd00::7]:2102\r\n \t\r\n10.0.0.3:1\r\n\r\n").unwrap();
        assert_eq!(Hosts::read(path.to_str().unwrap()).unwrap(), hosts);
        assert_eq!(Hosts::read("node0:2101, [fd00::7]:2102,10.0.0.3:1,").unwrap(), hosts);
    }

    #[test]
    fn errors_name_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        for (text, parts) in [
            ("a:1\nb\n", ["hosts:2: `b` is not an address", "host:port"]),
            ("a:0\n", ["hosts:1:", "a:0"]),
            ("a:70000\n", ["hosts:1: `a:70000`", "a port is a number from 1 to 65535"]),
            ("a b:1\n", ["hosts:1:", "not an address"]),
            ("fd00::7:1\n", ["hosts:1:", "[fd00::7]:2101"]),
            ("a:1\nb:1\na:1\n", ["hosts:3: a:1", "twice"]),
            ("# empty\n", ["no address", "one host:port a line"]),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Hosts::read(path.to_str().unwrap()).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{text:?}: {error}");
        }
        assert!(Hosts::read("nowhere").unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn parses_the_number_of_a_pod() {
        for (text, number) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("deltarec-3", Some(3)),
            ("a-b-10", Some(10)),
            ("deltarec", None),
            ("", None),
            ("x-", None),
            ("-1", None),
            ("x-+1", None),
        ] {
            assert_eq!(process_number(text), number, "{text}");
        }
    }

    #[test]
    fn public_addresses_are_not_private() {
        for ip in [
            "127.0.0.1",
            "127.9.8.7",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["0.0.0.0", "8.8.8.8", "172.32.0.1", "100.128.0.1", "::", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
    }
}
