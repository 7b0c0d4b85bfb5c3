//! The thread that a socket has for itself, so that it needs no runtime of the caller's, and none can hold it up.

use tokio::sync::oneshot;

/// Starts a socket's thread and waits for the first thing that it says: whether it could start.
pub(super) async fn start<T: Send + 'static, E: Send + 'static>(
    name: &str,
    fault: impl Fn(String) -> E,
    run: impl FnOnce(oneshot::Sender<Result<T, E>>) + Send + 'static,
) -> Result<T, E> {
    let (started, starting) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || run(started)).map_err(|error| fault(error.to_string()))?;
    starting.await.map_err(|_| fault("its thread ended at once".to_owned()))?
}
