//! Where a server is told to listen, and where it is to be found then.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;

use super::words::{cannot, fill};
use crate::harness::options::Options;
use crate::harness::world::World;
use crate::stop::{OrError, Step, Stop};
use crate::subject::{ReadyBy, Template, Values};

/// Where a server listens, as far as that is known before it starts.
#[derive(Debug, Default)]
pub(super) struct ListenPlan {
    /// The arguments that tell it.
    pub(super) arguments: Vec<OsString>,
    /// Where it is to be found, if it does not tell.
    pub(super) address: Option<SocketAddr>,
    /// The port, if the harness chose it.
    pub(super) chosen_port: Option<u16>,
    /// What it is to listen on, as HOST:PORT each.
    pub(super) addresses: Vec<String>,
}

/// An address as HOST:PORT, and its parts.
pub(super) fn parts_of(address: &str) -> Values<'static> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    [("address", address), ("host", host), ("port", port)]
        .map(|(name, value)| (name, OsString::from(value)))
        .into()
}

pub(super) fn where_to_listen(world: &World, options: &Options) -> Step<ListenPlan> {
    let manifest = &world.orders.target.manifest;
    let tells = match manifest.ready.by {
        ReadyBy::Descriptor => true,
        ReadyBy::Output if options.is_unheard() => false,
        ReadyBy::Output => {
            let line = manifest.ready.line.as_ref();
            line.is_some_and(|line| line.mentions("port") || line.mentions("address"))
        }
        ReadyBy::File | ReadyBy::Port => false,
    };
    let given =
        |templates: &[Template], name: &'static str, value: String| -> Step<Vec<OsString>> {
            let values: Values<'_> = [(name, OsString::from(value))].into();
            templates.iter().map(|template| fill(template, &values)).collect()
        };
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let fixed = manifest.launch.port.map(std::num::NonZeroU16::get);

    if options.default_addresses {
        if let Some(words) = &manifest.options.any_address {
            let templates = words.arguments();
            let chosen = match options.default_port {
                Some(port) => port,
                None if tells => 0,
                None => free_port()?,
            };
            let address = (!tells).then(|| local(chosen));
            let arguments = given(templates, "port", chosen.to_string())?;
            let chosen_port = address.filter(|_| options.default_port.is_none()).map(|_| chosen);
            return Ok(ListenPlan { arguments, address, chosen_port, ..ListenPlan::default() });
        }
        if manifest.options.address.is_some() && !manifest.takes_port() {
            return cannot(world, "to listen on its defaults", "options.any-address");
        }
    }
    if let (Some(words), false) = (&manifest.options.address, options.default_addresses) {
        let templates = words.arguments();
        let mut chosen = None;
        let mut wanted = options.listen.clone();
        let most = manifest.options.addresses.map_or(usize::MAX, |most| usize::from(most.get()));
        if wanted.len() > most {
            return cannot(world, "to listen on several addresses", "larger options.addresses");
        }
        if wanted.is_empty() {
            if !tells {
                chosen = Some(free_port()?);
            }
            wanted.push(local(chosen.unwrap_or(0)).to_string());
        }
        let mut arguments = Vec::new();
        for address in &wanted {
            let values = parts_of(address);
            for template in templates {
                arguments.push(fill(template, &values)?);
            }
        }
        let mut address = None;
        if !tells {
            // A port of 0 would never be known.
            for wanted in &mut wanted {
                if wanted.ends_with(":0") {
                    return cannot(world, "which port it chose", "ready.line with {port}");
                }
            }
            address = wanted.first().and_then(|wanted| {
                let named = wanted.strip_prefix("localhost:").and_then(|port| port.parse().ok());
                wanted.parse().ok().or_else(|| named.map(local))
            });
        }
        return Ok(ListenPlan { arguments, address, chosen_port: chosen, addresses: wanted });
    }
    // The port alone can be told, or nothing.
    let port = match (options.listen.as_slice(), fixed) {
        ([], Some(fixed)) => {
            if world.servers.borrow().iter().any(|server| !server.over.get()) {
                return cannot(
                    world,
                    "a port beside that of its other server",
                    "other port than launch.port",
                );
            }
            fixed
        }
        ([], None) if tells && !manifest.takes_port() => return Ok(ListenPlan::default()),
        ([], None) if options.default_port.is_some() => options.default_port.unwrap_or_default(),
        ([], None) => {
            let chosen = free_port()?;
            let address = Some(local(chosen));
            return Ok(ListenPlan { address, chosen_port: Some(chosen), ..ListenPlan::default() });
        }
        ([one], fixed) => match (one.parse::<SocketAddr>(), fixed) {
            (Ok(address), None)
                if address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) && manifest.takes_port() =>
            {
                match address.port() {
                    0 => free_port()?,
                    port => port,
                }
            }
            (Ok(address), Some(fixed)) if address == local(fixed) => fixed,
            _ => return cannot(world, &format!("to listen on {one}"), "options.address"),
        },
        _ => return cannot(world, "to listen on several addresses", "options.address"),
    };
    Ok(ListenPlan { address: Some(local(port)), ..ListenPlan::default() })
}

/// A port that nobody has in either family, outside of the range from which systems give
/// ports to clients, so that few things can take it before the server does.
pub fn free_port() -> Step<u16> {
    for _ in 0..200 {
        let mut random = [0; 2];
        File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut random))
            .or_error("/dev/urandom")?;
        let port = 10_000 + u16::from_ne_bytes(random) % 20_000;
        if is_free(port) {
            return Ok(port);
        }
    }
    Err(Stop::Error("no port is free".into()))
}

/// Whether a server gets this port on whatever address, also one that does not set `SO_REUSEADDR`
/// and so is kept out by connections in TIME_WAIT; std's `TcpListener` sets it.
pub(super) fn is_free(port: u16) -> bool {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, socket};
    let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    all.into_iter().all(|address| {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        match socket(family, SockType::Stream, SockFlag::empty(), None) {
            Ok(socket) => {
                let at = SockaddrStorage::from(SocketAddr::from((address, port)));
                bind(socket.as_raw_fd(), &at) != Err(Errno::EADDRINUSE)
            }
            // A kernel without this family.
            Err(_) => true,
        }
    })
}
