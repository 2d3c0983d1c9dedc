use tokio::sync::watch;

/// Tells open streams to end: the server is about to stop, and they would hold it up, or whoever they go to may be somebody
/// else by now. A page comes again by itself, and goes on where it was if it still may.
#[derive(Clone)]
pub struct Closing {
    stop: watch::Receiver<bool>,
    accounts: Option<watch::Receiver<()>>,
}

impl Closing {
    /// `accounts` changes with the accounts by which callers were let in, if they were by any.
    pub fn new(stop: watch::Receiver<bool>, accounts: Option<watch::Receiver<()>>) -> Closing {
        Closing { stop, accounts }
    }

    /// For a caller who was let in just now.
    pub fn for_stream(&self) -> Closing {
        let mut own = self.clone();
        if let Some(accounts) = &mut own.accounts {
            accounts.mark_unchanged();
        }
        own
    }

    /// Returns when the stream shall end.
    pub async fn wait(&mut self) {
        let Closing { stop, accounts } = self;
        let replaced = async {
            match accounts {
                Some(accounts) => accounts.changed().await,
                None => std::future::pending().await,
            }
        };
        // A sender that is gone means the same.
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            _ = replaced => {}
        }
    }
}
