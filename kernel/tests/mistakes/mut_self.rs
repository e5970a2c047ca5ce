use teammy_kernel::{Cx, Error, Hooks, InCallPlugin, Json, Receive, StartupCx, data::Chat};

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
        hooks.on::<Json<Chat>>("chat")
    }
}

impl Receive<Json<Chat>> for Counter {
    async fn receive(&mut self, _: Json<Chat>, _: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        Ok(None)
    }
}

fn main() {
    let _ = teammy_kernel::Factory::of::<Counter>("counter");
}
