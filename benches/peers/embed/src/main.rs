//! The handler inside the HTTP server's own process: axum on one thread, CPython on N others.
//!
//! What an environment of one's own costs is measured against this. It builds the same event,
//! calls the same handler and maps the same answer, without JSON on the way in. Nothing here can
//! stop a handler that hangs, or outlive one that crashes.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Response, StatusCode};
use crossbeam_channel::{Receiver, Sender};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use tokio::sync::oneshot;

struct Call {
    request: Request,
    peer: SocketAddr,
    answer: oneshot::Sender<Response<Body>>,
}

#[pyclass]
struct Context {
    #[pyo3(get)]
    aws_request_id: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, threads, folder, module] = arguments.as_slice() else {
        panic!("usage: embed ADDRESS:PORT THREADS FOLDER MODULE");
    };
    let (calls, taken) = crossbeam_channel::unbounded();
    let handler = load(folder, module).expect("the handler loads");
    for _ in 0..threads.parse().expect("THREADS is a number") {
        let (taken, handler) = (taken.clone(), Python::attach(|py| handler.clone_ref(py)));
        std::thread::spawn(move || work(&taken, &handler));
    }
    let listener = tokio::net::TcpListener::bind(address).await.expect("the address is free");
    let router = axum::Router::new().fallback(answer).with_state(calls);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await.expect("serves");
}

async fn answer(
    State(calls): State<Sender<Call>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    let (answer, answered) = oneshot::channel();
    calls.send(Call { request, peer, answer }).expect("the threads live");
    answered.await.unwrap_or_else(|_| failed())
}

fn load(folder: &str, module: &str) -> PyResult<Py<PyAny>> {
    Python::attach(|py| {
        py.import("sys")?.getattr("path")?.call_method1("insert", (0, folder))?;
        Ok(py.import(module)?.getattr("lambda_handler")?.unbind())
    })
}

/// The thread stays known to Python for its whole life: being introduced anew for each call would
/// cost more than the call.
fn work(calls: &Receiver<Call>, handler: &Py<PyAny>) {
    Python::attach(|py| {
        let mut count = 0_u64;
        while let Ok(call) = calls.try_recv().or_else(|_| py.detach(|| calls.recv())) {
            count += 1;
            let response = invoke(py, handler.bind(py), &call, count).unwrap_or_else(|error| {
                error.print(py);
                failed()
            });
            let _ = call.answer.send(response);
        }
    });
}

fn failed() -> Response<Body> {
    Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).body(Body::empty()).expect("is valid")
}

fn invoke(py: Python<'_>, handler: &Bound<'_, PyAny>, call: &Call, count: u64) -> PyResult<Response<Body>> {
    let request_id = format!("00000000-0000-0000-0000-{count:012x}");
    let event = event(py, call, &request_id)?;
    let context = Py::new(py, Context { aws_request_id: request_id })?;
    let result = handler.call1((event, context))?.cast_into::<PyDict>()?;
    let status: u16 = required(&result, "statusCode")?.extract()?;
    let mut response = Response::builder().status(status);
    if let Some(headers) = result.get_item(intern!(py, "headers"))? {
        for (name, value) in &headers.cast_into::<PyDict>()? {
            response = response.header(name.extract::<&str>()?, value.extract::<&str>()?);
        }
    }
    let body: String = required(&result, "body")?.extract()?;
    Ok(response.body(Body::from(body)).unwrap_or_else(|_| failed()))
}

fn required<'py>(result: &Bound<'py, PyDict>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    result.get_item(name)?.ok_or_else(|| PyTypeError::new_err(format!("the result has no {name}")))
}

/// The fields of payload format 2.0.
fn event<'py>(py: Python<'py>, call: &Call, request_id: &str) -> PyResult<Bound<'py, PyDict>> {
    let (method, uri) = (call.request.method().as_str(), call.request.uri());
    let path = uri.path();
    let query = uri.query().unwrap_or_default();
    let source_ip = call.peer.ip().to_string();
    let headers = PyDict::new(py);
    for (name, value) in call.request.headers() {
        headers.set_item(PyString::intern(py, name.as_str()), value.to_str().unwrap_or_default())?;
    }
    let header = |name| headers.get_item(name).ok().flatten();
    let parameters = PyDict::new(py);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.set_item(name, value)?;
    }
    let http = PyDict::new(py);
    http.set_item(intern!(py, "method"), method)?;
    http.set_item(intern!(py, "path"), path)?;
    http.set_item(intern!(py, "protocol"), intern!(py, "HTTP/1.1"))?;
    http.set_item(intern!(py, "sourceIp"), source_ip)?;
    http.set_item(intern!(py, "userAgent"), header("user-agent"))?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let context = PyDict::new(py);
    context.set_item(intern!(py, "accountId"), intern!(py, "123456789012"))?;
    context.set_item(intern!(py, "apiId"), intern!(py, "bench"))?;
    context.set_item(intern!(py, "domainName"), header("host"))?;
    context.set_item(intern!(py, "domainPrefix"), intern!(py, "localhost"))?;
    context.set_item(intern!(py, "http"), http)?;
    context.set_item(intern!(py, "requestId"), request_id)?;
    context.set_item(intern!(py, "routeKey"), intern!(py, "$default"))?;
    context.set_item(intern!(py, "stage"), intern!(py, "$default"))?;
    context.set_item(intern!(py, "time"), intern!(py, "01/Jan/2026:00:00:00 +0000"))?;
    context.set_item(intern!(py, "timeEpoch"), now.as_millis() as u64)?;
    let event = PyDict::new(py);
    event.set_item(intern!(py, "version"), intern!(py, "2.0"))?;
    event.set_item(intern!(py, "routeKey"), intern!(py, "$default"))?;
    event.set_item(intern!(py, "rawPath"), path)?;
    event.set_item(intern!(py, "rawQueryString"), query)?;
    event.set_item(intern!(py, "headers"), headers)?;
    event.set_item(intern!(py, "queryStringParameters"), parameters)?;
    event.set_item(intern!(py, "requestContext"), context)?;
    event.set_item(intern!(py, "isBase64Encoded"), false)?;
    Ok(event)
}
