//! IPv6 addresses with a scope.

use std::net::Ipv6Addr;

use nix::net::if_::if_nametoindex;

/// The address that `host` writes, with the index of its scope, which may be a number or the name of a
/// network interface (`fe80::1%eth0`, RFC 4007, 11), and is 0 when none is written. `None` when it writes
/// no IPv6 address.
///
/// # Errors
/// There is no such interface.
pub fn scoped_address(host: &str) -> Option<Result<(Ipv6Addr, u32), String>> {
    let (address, scope) = host.split_once('%').unwrap_or((host, ""));
    let address = address.parse().ok()?;
    Some(match scope {
        "" => Ok((address, 0)),
        name => match name.parse().or_else(|_| if_nametoindex(name)) {
            Ok(index) => Ok((address, index)),
            Err(_) => Err(format!("no network interface `{name}`")),
        },
    })
}
