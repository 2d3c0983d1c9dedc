use tokio::sync::watch;

/// Tells open streams that the server is about to stop, so that they do not hold it up.
#[derive(Clone)]
pub struct Closing(watch::Receiver<bool>);

impl Closing {
    pub fn new() -> (watch::Sender<bool>, Closing) {
        let (sender, receiver) = watch::channel(false);
        (sender, Closing(receiver))
    }

    /// Returns when the server begins to stop.
    pub async fn wait(&mut self) {
        // A sender that is gone means the same.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}
