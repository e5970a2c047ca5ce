use teammy_kernel::{Cx, Error, Hooks, InCallPlugin, Json, Receive, StartupCx};

#[derive(schemars::JsonSchema)]
struct Line {
    text: String,
}

struct Counter;

impl InCallPlugin for Counter {
    type Config = ();
    type State = u64;
    type Scratch = ();
    type Output = String;
    const KIND: &'static str = "counter";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Line>>("lines")
    }
}

impl Receive<Json<Line>> for Counter {
    async fn receive(&self, _: Json<Line>, _: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        Ok(None)
    }
}

fn main() {
    let _ = teammy_kernel::Factory::of::<Counter>("counter");
}
