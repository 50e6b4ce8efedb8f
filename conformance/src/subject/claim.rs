//! What a server says of itself. Claims decide what is checked: what a server does not claim is
//! `unsupported` for it, what it claims and does not do is a failure.

use serde::{Deserialize, Serialize};

macro_rules! claims {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal : $sentence:literal,)*) => {
        /// Something that a server may have or not have, without being broken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(try_from = "String", into = "String")]
        pub enum Claim {
            $(
                $(#[doc = $doc])+
                #[cfg_attr(test, schemars(rename = $word))]
                $name,
            )*
        }

        impl Claim {
            /// Every claim, in the order of the guide.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word in manifests.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What is claimed: "the server …".
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

claims! {
    /// It broadcasts.
    Broadcast = "broadcast": "passes on to all clients what one of them says",
    /// What is said comes back.
    Lines = "lines": "sends what a client says, line by line, back to it or on to all",
    /// Connections stay.
    KeepsOpen = "keeps-open": "keeps a connection open that it has answered on",
    /// A connection can be asked again.
    Again = "again": "answers again on a connection that it has answered on",
    /// It listens on IPv6 addresses.
    Ipv6 = "ipv6": "listens on the IPv6 addresses that it is told",
    /// Its default is both families.
    DualStack = "dual-stack": "serves IPv4 and IPv6 when it is told no address",
    /// Start-up errors are told.
    StartupErrors = "startup-errors": "exits non-zero and names what is wrong when it cannot start",
    /// Configuration mistakes are told, with their lines.
    ConfigErrors = "config-errors": "refuses a configuration file with an unknown key, and names the file",
    /// It can be a daemon.
    Daemon = "daemon": "can go into the background",
    /// There is a pid file.
    PidFile = "pid-file": "writes its process id to a file",
    /// It logs to syslog.
    Syslog = "syslog": "sends its messages to the system's log when told so",
    /// There is a chat log.
    ChatLog = "chat-log": "keeps what is said in a file, byte for byte",
    /// The log is locked.
    LogLock = "log-lock": "locks the chat log with flock: exclusively to append, shared to read",
    /// The log may be renamed or deleted.
    LogRotation = "log-rotation": "creates the chat log anew when it was renamed or deleted",
    /// The log is not everybody's.
    PrivateLog = "private-log": "creates the chat log with mode 0660 less the umask",
    /// Errors of the disk are handled.
    DiskErrors = "disk-errors": "keeps a message whole or not at all, drops its speaker then, and says why",
    /// Long lines stay whole.
    WholeLines = "whole-lines": "keeps long lines of several clients apart",
    /// Any byte may be said.
    Transparent = "transparent": "carries every byte value, and what does not end in a newline, unchanged",
    /// Half-closed connections are served.
    HalfClose = "half-close": "still sends what there is to a client that has closed its sending half",
    /// It replays.
    Replay = "replay": "sends the last lines of the log to a new client",
    /// Speakers hear themselves.
    Echo = "echo": "sends a message to its speaker too",
    /// There is a key.
    Key = "key": "lets in only clients that send the key first",
    /// Keys have to come in time.
    AuthTimeout = "auth-timeout": "closes the connection of a client whose key does not come in time",
    /// It warns about key files.
    KeyFileWarnings = "key-file-warnings": "warns about a key file that every user can read",
    /// It forks.
    ProcessPerClient = "process-per-client": "serves each client by a process of its own",
    /// Two processes for each client.
    Clusters = "clusters": "serves each client by a receiver, a child of the daemon, and a sender, a child of that",
    /// A pool of processes.
    Workers = "workers": "has processes that serve clients one after the other",
    /// It replaces workers that hang.
    HealthChecks = "health-checks": "replaces a worker that gives no sign of life",
    /// It reads its configuration again.
    Reload = "reload": "reads its configuration again when told so, and loses no request",
    /// It ends without harm.
    GracefulStop = "graceful-stop": "takes no more clients, finishes what is under way and ends when told so",
    /// Not whatever it takes.
    GracefulLimit = "graceful-limit": "waits for so long at most for what is under way",
    /// Its log can be rotated.
    ReopensLogs = "reopens-logs": "opens its log anew when told so",
    /// Its program can be replaced.
    Upgrade = "upgrade": "executes its program anew when told so, with the sockets kept",
    /// SIGUSR1 means news.
    MulticastSignal = "multicast-signal": "takes SIGUSR1, in all of its processes, for a sign to look at the log",
    /// The daemon is not needed by those who are in.
    IndependentClients = "independent-clients": "keeps serving the clients that are in when its daemon is stopped or killed",
    /// Generations hear each other.
    Generations = "generations": "lets the clients of a killed daemon and of its successor hear each other",
    /// SIGTERM ends all.
    EndsAll = "ends-all": "ends all of its processes at SIGTERM",
    /// SIGINT ends all.
    Sigint = "sigint": "ends at SIGINT as at SIGTERM",
    /// SIGHUP ends nothing.
    Sighup = "sighup": "survives SIGHUP, in all of its processes",
    /// Dispositions are documented.
    DocumentedDispositions = "documented-dispositions": "has the signal dispositions that the manifest documents",
    /// It becomes another user.
    PrivilegeDrop = "privilege-drop": "becomes the user that it is told when it is started as root",
    /// Clients can be limited.
    MaxClients = "max-clients": "refuses clients beyond the number that it is told",
    /// It takes sockets that it is handed.
    SocketActivation = "socket-activation": "serves on the listening sockets that it is handed (LISTEN_FDS)",
    /// It tells a service manager that it is ready.
    Notifies = "notifies": "says READY=1 to NOTIFY_SOCKET when it listens",
    /// Clients are named in its messages.
    PeerNames = "peer-names": "names clients by address and port in its messages",
}

impl TryFrom<String> for Claim {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        let words: Vec<&str> = Self::ALL.iter().map(|claim| claim.word()).collect();
        Self::ALL
            .iter()
            .copied()
            .find(|claim| claim.word() == word)
            .ok_or_else(|| settings::unknown("claim", &word, &words))
    }
}

impl From<Claim> for String {
    fn from(claim: Claim) -> Self {
        claim.word().to_owned()
    }
}
