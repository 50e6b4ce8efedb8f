//! The program `webd` as an administrator and as strangers meet it: real processes on loopback.

mod files;
mod hosts;
mod http;
mod limits;
mod load;
mod operation;
mod reload;
mod remote;
mod settings;
mod strangers;
mod supervision;
mod systemd;
mod world;
