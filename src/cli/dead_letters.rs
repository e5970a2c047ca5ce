//! `teammy dead-letters`: lists a meeting's dead letters and redrives them.

use teammy::{
    MeetingId, Name, Node, Seq, Store,
    admin::{Redrive, Request, Response},
    config::Config,
    control::Client,
    open_store,
    store::DeadLetter,
    wire::json,
};
use tokio::{runtime::Runtime, time::Duration};

use super::{
    client,
    error::Error,
    history,
    host::Host,
    install,
    output::{Form, Output, table},
    plugin_set::PluginSet,
    text::count,
};

const EXAMPLES: &str = "\
Examples:
  teammy dead-letters standup                                what was given up, and why
  teammy dead-letters standup --redrive all                  deliver it once more
  teammy dead-letters standup --redrive 41 --instance minutes

A packet that is redriven comes to its instance at the end of the log, and its dead letter goes with what comes of it. A meeting that \
had ended is opened once more for that, and ends again. Where a node runs here that holds the meeting, it is asked to; elsewhere the \
meeting is taken from whoever runs it.";

/// Print the packets of a meeting that instances gave up, or deliver them again
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The meeting's id
    meeting: String,
    /// Only dead letters of this instance
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Deliver the packet with this seq again, or all
    #[arg(long, value_name = "SEQ|all", value_parser = which)]
    redrive: Option<Which>,
    /// Where the meeting is kept, instead of database.url
    #[arg(long, value_name = "URL")]
    pub(super) db: Option<String>,
    /// Print JSON lines, each with a "type"
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy)]
enum Which {
    All,
    One(Seq),
}

fn which(text: &str) -> Result<Which, String> {
    match text.parse() {
        _ if text == "all" => Ok(Which::All),
        Ok(seq @ 1..) => Ok(Which::One(Seq(seq))),
        _ => Err("this takes a packet's seq, or all".to_owned()),
    }
}

#[derive(serde::Serialize)]
struct Done {
    r#type: &'static str,
    redriven: usize,
    left: usize,
}

pub(crate) fn run(args: &Args, plugins: &PluginSet, config: Config, output: &Output) -> Result<(), Error> {
    let id = MeetingId::new(&args.meeting).map_err(Error::MeetingId)?;
    let instance = args.instance.as_ref().map(Name::new).transpose().map_err(Error::Source)?;
    let letters = Letters { id, instance, redrive: args.redrive, output };
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let done = runtime.block_on(async {
        if let Some(client) = client::holder(&config).await? {
            return letters.ask(client).await;
        }
        history::check_kept(&config.database)?;
        let store = open_store(&config.database).await?;
        if store.meeting(letters.id.clone()).await?.is_none() {
            let unknown = history::unknown(&*store, &letters.id).await?;
            let _ = store.close().await;
            return Err(unknown);
        }
        if let Err(error) = letters.are_there(&store.dead_letters(letters.id.clone()).await?) {
            let _ = store.close().await;
            return Err(error);
        }
        if letters.redrive.is_some() {
            return letters.host(plugins, config, store).await;
        }
        let found = store.dead_letters(letters.id.clone()).await;
        let closed = store.close().await;
        letters.print(&found?)?;
        Ok(closed?)
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

struct Letters<'a> {
    id: MeetingId,
    instance: Option<Name>,
    redrive: Option<Which>,
    output: &'a Output,
}

impl Letters<'_> {
    fn seq(&self) -> Option<Seq> {
        match self.redrive {
            Some(Which::One(seq)) => Some(seq),
            _ => None,
        }
    }

    /// Checks that the packet to redrive is a dead letter.
    fn are_there(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        let Some(seq) = self.seq() else { return Ok(()) };
        if self.wanted(letters).any(|letter| letter.seq == seq) {
            return Ok(());
        }
        Err(Error::NoSuchLetter { id: self.id.clone(), there: Self::shown(letters) })
    }

    /// Some dead letters, as their seqs and instances.
    fn shown(letters: &[DeadLetter]) -> Vec<String> {
        let mut there: Vec<_> =
            letters.iter().map(|letter| format!("{} of {}", letter.seq, letter.instance)).collect();
        if there.len() > 10 {
            there.truncate(10);
            there.push("more".to_owned());
        }
        there
    }

    /// The dead letters that the options select.
    fn wanted<'a>(&'a self, letters: &'a [DeadLetter]) -> impl Iterator<Item = &'a DeadLetter> {
        letters.iter().filter(|letter| self.instance.as_ref().is_none_or(|name| *name == letter.instance))
    }

    fn print(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        let wanted: Vec<_> = self.wanted(letters).collect();
        if self.output.form() == Form::Json {
            return wanted.into_iter().try_for_each(|letter| self.print_one(letter));
        }
        if wanted.is_empty() {
            let note = match &self.instance {
                Some(instance) if !letters.is_empty() => {
                    let there = Self::shown(letters).join(", ");
                    format!("note: meeting {} has no dead letters of {instance}; there are {there}", self.id)
                }
                _ => format!("note: meeting {} has no dead letters", self.id),
            };
            self.output.note(&note);
            return Ok(());
        }
        let mut table = table(["seq", "instance", "source", "tries", "given up at", "error"]);
        for letter in wanted {
            table.add_row([
                letter.seq.to_string(),
                letter.instance.to_string(),
                letter.source.to_string(),
                letter.tries.to_string(),
                letter.at.to_string(),
                letter.error.clone(),
            ]);
        }
        self.output.text(&table.to_string())
    }

    /// Prints a dead letter as JSON.
    fn print_one(&self, letter: &DeadLetter) -> Result<(), Error> {
        self.output.object(&json::DeadLetter::new(&self.id, letter))
    }

    fn print_redriven(&self, redriven: usize, left: &[DeadLetter]) -> Result<(), Error> {
        let left: Vec<_> = self.wanted(left).cloned().collect();
        if self.output.form() == Form::Json {
            left.iter().try_for_each(|letter| self.print_one(letter))?;
            return self.output.object(&Done { r#type: "redriven", redriven, left: left.len() });
        }
        let packets = count(redriven as u64, "packet", "packets");
        let letters = count(left.len() as u64, "dead letter", "dead letters");
        self.output.note(&format!("{packets} delivered again; {letters} left"));
        if left.is_empty() { Ok(()) } else { self.print(&left) }
    }

    /// Asks the node that holds the meeting.
    async fn ask(&self, mut client: Client) -> Result<(), Error> {
        let letters = self.ask_for_letters(&mut client).await?;
        self.are_there(&letters)?;
        if self.redrive.is_none() {
            return self.print(&letters);
        }
        let request = Request::Redrive { meeting: self.id.clone(), which: self.which() };
        let Response::Redriven { count } = client::ask(&mut client, &self.id, request).await? else {
            return Err(client.unexpected().into());
        };
        self.print_redriven(count, &self.ask_for_letters(&mut client).await?)
    }

    async fn ask_for_letters(&self, client: &mut Client) -> Result<Vec<DeadLetter>, Error> {
        let request = Request::DeadLetters { meeting: self.id.clone() };
        match client::ask(client, &self.id, request).await? {
            Response::DeadLetters { letters } => Ok(letters),
            _ => Err(client.unexpected().into()),
        }
    }

    /// Which dead letters to redrive.
    fn which(&self) -> Redrive {
        let mut which = Redrive::all();
        if let Some(instance) = &self.instance {
            which = which.instance(instance.clone());
        }
        if let Some(seq) = self.seq() {
            which = which.seq(seq);
        }
        which
    }

    /// Redrives on a node of this process.
    async fn host(
        &self,
        plugins: &PluginSet,
        config: Config,
        store: std::sync::Arc<dyn Store>,
    ) -> Result<(), Error> {
        let (manifest, host) = (config.install.clone(), Host::new(&config));
        let installed = install::prepared(&config, None, plugins.bundle(), self.output).await?;
        let builder = plugins.builder(config).installed(installed.clone()).store(store);
        let factories: Vec<_> =
            builder.check()?.instances().map(|instance| instance.factory.clone()).collect();
        install::missing(&factories, installed, &manifest, self.output).await?;
        let which = self.which();
        let work = async |node: &Node| {
            let redriven = node.redrive(&self.id, &which).await?;
            redriven.done().await?;
            Ok((redriven.count, node.dead_letters(&self.id).await?))
        };
        let (count, left) = host.run(builder, &self.id, self.output, work).await?;
        self.print_redriven(count, &left)
    }
}
