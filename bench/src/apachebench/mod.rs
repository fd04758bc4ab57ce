//! A real server under each backend: lighttpd, loaded by wrk (connections kept alive) and by ab (a
//! connection for each request), while idle connections sit beside the busy ones.

mod churn;
mod load;
mod server;

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::ctx::Ctx;
use crate::iface::libs;
use crate::measure::{Row, in_turns};
use crate::model::{Bench, Target};
use load::{Ab, Load, Wrk};
use server::Server;

/// Parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct ApachebenchArgs {
    /// Idle connections
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1000, 4000])]
    pub(crate) idle: Vec<usize>,
    /// Seconds of each of wrk's turns
    #[arg(short, long, default_value_t = 2)]
    pub(crate) time: u32,
    /// Requests of each of ab's turns
    #[arg(short = 'n', long, default_value_t = 5000)]
    pub(crate) requests: u32,
    /// Connections that wrk keeps busy
    #[arg(short, long, default_value_t = 10)]
    pub(crate) connections: u32,
    /// Connections that ab opens at a time
    #[arg(long, default_value_t = 500)]
    pub(crate) concurrency: u32,
    /// Turns of each server under each load
    #[arg(long, default_value_t = 5)]
    pub(crate) turns: usize,
    /// Only these of lighttpd's event handlers
    #[arg(long, value_enum, value_delimiter = ',',
          default_values_t = [Handler::Select, Handler::Poll, Handler::Epoll])]
    pub(crate) handler: Vec<Handler>,
    /// Instead: so many short connections to each server under our library; none may be lost
    #[arg(long, value_name = "CONNECTIONS")]
    pub(crate) churn: Option<u64>,
}

/// lighttpd's event handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Handler {
    Select,
    Poll,
    Epoll,
}

impl Handler {
    /// What `server.event-handler` calls it.
    fn setting(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Poll => "poll",
            Self::Epoll => "linux-sysepoll",
        }
    }

    fn native(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Poll => "poll",
            Self::Epoll => "epoll",
        }
    }

    fn library(self) -> &'static str {
        match self {
            Self::Select => "libkqcompat_select.so",
            Self::Poll => "libkqcompat_poll.so",
            Self::Epoll => "libkqcompat_epoll.so",
        }
    }

    /// lighttpd's select cannot hold more: its sets end at FD_SETSIZE.
    fn most_idle(self) -> usize {
        if self == Self::Select { 400 } else { usize::MAX }
    }
}

/// One server's part in a row.
struct Contender {
    name: String,
    handler: Handler,
    preload: Option<OsString>,
}

/// Native, compat, and beside poll the server's own best: its epoll handler.
fn contenders(ctx: &Ctx, handler: Handler) -> Result<Vec<Contender>> {
    let native =
        |handler: Handler| Contender { name: handler.native().into(), handler, preload: None };
    let mut all = vec![native(handler)];
    let compat = format!("compat-{}", handler.native());
    if ctx.dir.join(handler.library()).exists() && ctx.interfaces.wants(&compat) {
        let preload = Some(libs::preload_value(&ctx.dir, &[handler.library()])?);
        all.push(Contender { name: compat, handler, preload });
    }
    if handler == Handler::Poll {
        all.push(native(Handler::Epoll));
    }
    Ok(all)
}

/// Runs it.
pub(crate) fn run(ctx: &Ctx, args: &ApachebenchArgs) -> Result<Bench> {
    if let Some(connections) = args.churn {
        return churn::run(ctx, args, connections);
    }
    let lighttpd = server::find("lighttpd", "lighttpd")?;
    let turns = ctx.plan.turns(args.turns);
    // wrk knows whole seconds.
    let time = (ctx.plan.seconds(args.time.into()).ceil() as u32).max(1);
    let tools: Vec<Box<dyn Load>> = vec![
        Box::new(Wrk::find(time, args.connections)?),
        Box::new(Ab::find(args.requests, args.concurrency)?),
    ];
    let mut bench = Bench::new(
        "apachebench",
        format!(
            "lighttpd serves 1 KiB beside N idle connections: wrk -c {} for {} s, ab -n {} -c {}, \
             {} turns each; requests a second",
            args.connections, time, args.requests, args.concurrency, turns
        ),
    );
    ctx.begin("apachebench", args.handler.len() * args.idle.len() * tools.len());
    for &handler in &args.handler {
        let mut idles: Vec<usize> = args.idle.iter().map(|&n| n.min(handler.most_idle())).collect();
        if args.idle.iter().any(|&n| n > handler.most_idle()) {
            bench.note(format!(
                "lighttpd's select holds no descriptor past FD_SETSIZE: at most {} idle",
                handler.most_idle()
            ));
        }
        idles.dedup();
        let contenders = contenders(ctx, handler)?;
        let (fit, note) = ctx.that_fit(&idles, contenders.len(), 100)?;
        bench.notes.extend(note);
        for idle in fit {
            ctx.case(&format!("{} with {idle} idle", handler.native()));
            rows(ctx, &mut bench, &lighttpd, &contenders, idle, &tools, turns)?;
        }
    }
    ctx.end();
    Ok(bench)
}

/// One number of idle connections: all servers run side by side and are loaded in turns.
fn rows(
    ctx: &Ctx,
    bench: &mut Bench,
    lighttpd: &std::path::Path,
    contenders: &[Contender],
    idle: usize,
    tools: &[Box<dyn Load>],
    turns: usize,
) -> Result<()> {
    ctx.pin_side(0)?;
    let servers = contenders
        .iter()
        .map(|c| {
            let mut server = Server::start(lighttpd, c.handler.setting(), c.preload.as_deref())
                .with_context(|| format!("lighttpd under {}", c.name))?;
            server.idle(idle).with_context(|| format!("idle connections of {}", c.name))?;
            Ok(server)
        })
        .collect::<Result<Vec<Server>>>()?;
    ctx.pin_side(1)?;
    for tool in tools {
        for server in &servers {
            tool.run(server.port()).context("warming up")?;
        }
        let values = in_turns(turns, servers.len(), |lane| tool.run(servers[lane].port()))?;
        let target = |name: &str| {
            let heavy = idle >= 4000 && tool.name() == "wrk";
            (heavy && name == "compat-poll").then_some(Target::AtLeast(5.0))
        };
        let names = contenders.iter().map(|c| (c.name.clone(), target(&c.name))).collect();
        let group = contenders[0].name.clone();
        bench.cases.push(Row::rate(&group, tool.name()).at(idle).case(names, &values));
        // The same turns read against the server's own best.
        let at = |name: &str| contenders.iter().position(|c| c.name == name);
        if let (Some(ours), Some(best), "poll") = (at("compat-poll"), at("epoll"), &*group) {
            let least = (tool.name() == "wrk").then_some(Target::AtLeast(0.95));
            let names = vec![("epoll".to_owned(), None), ("compat-poll".to_owned(), least)];
            let pair = [values[best].clone(), values[ours].clone()];
            let title = format!("{}, against its epoll handler", tool.name());
            bench.cases.push(Row::rate("poll", title).at(idle).case(names, &pair));
        }
        ctx.done();
    }
    for (server, contender) in servers.into_iter().zip(contenders) {
        // Those that sat idle through it all are still served.
        server
            .ask_the_idle()
            .with_context(|| format!("after the load, under {}", contender.name))?;
    }
    std::thread::sleep(Duration::from_millis(50));
    crate::host::pin(&ctx.cpus)
}
