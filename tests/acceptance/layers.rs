//! Layers: published, listed, fetched, deleted; and merged in order when a function runs.

use crate::harness::{TestServer, TestServerBuilder};
use crate::python_tools::python_tools;
use crate::versions::scenario;

const GREET: &str = "def lambda_handler(event, context):\n    return {}\n";

#[tokio::test]
async fn layers() {
    let Some(tools) = python_tools("layers") else { return };
    scenario(tools, "layers", &TestServer::with_handler("greet", GREET).await);
}

/// Of two layers the later one wins, and a version keeps what it was published with.
#[tokio::test]
async fn a_version_keeps_its_layers() {
    let source = "import tool\ndef lambda_handler(event, context):\n    return [tool.WHO, tool.ONLY]\n";
    let server = TestServerBuilder::new()
        .handler("greet", source)
        .file("greet/function.yaml", "Layers: [first, second]\n")
        .file("greet/first/python/tool.py", "WHO = 'first'\nONLY = 1\n")
        .file("greet/second/python/tool.py", "WHO = 'second'\nONLY = 2\n")
        .start()
        .await;
    assert_eq!(server.invoke("greet", "{}").await.text(), r#"["second", 2]"#);
    let publish = server.client.post(format!("{}/2015-03-31/functions/greet/versions", server.api));
    assert_eq!(server.send(publish).await.status, 201);
    server.write("greet/second/python/tool.py", "WHO = 'changed'\nONLY = 3\n");
    assert_eq!(server.invoke("greet", "{}").await.text(), r#"["changed", 3]"#);
    assert_eq!(server.invoke("greet:1", "{}").await.text(), r#"["second", 2]"#);
}

/// The file may lie in a bucket; functions tell the size of the layers that they use.
#[tokio::test]
async fn a_layer_comes_from_a_bucket() {
    let Some(moto) = crate::moto::moto("a_layer_comes_from_a_bucket") else { return };
    let server = TestServerBuilder::new()
        .variable("AWS_ENDPOINT_URL", &moto.url)
        .handler("greet", "import tool\ndef lambda_handler(event, context):\n    return tool.WHO\n")
        .start()
        .await;
    let code = r#"
import io, zipfile
buffer = io.BytesIO()
with zipfile.ZipFile(buffer, "w") as archive:
    archive.writestr("python/tool.py", "WHO = 'from a bucket'\n")
s3 = client("s3")
s3.create_bucket(Bucket="layers")
s3.put_object(Bucket="layers", Key="tools/one.zip", Body=buffer.getvalue())
api = client("lambda", endpoint_url="API")
layer = api.publish_layer_version(LayerName="tools", Content={"S3Bucket": "layers", "S3Key": "tools/one.zip"})
size = len(buffer.getvalue())
assert layer["Content"]["CodeSize"] == size, layer
arn = layer["LayerVersionArn"]
api.update_function_configuration(FunctionName="greet", Layers=[arn])
api.get_waiter("function_updated_v2").wait(FunctionName="greet")
layers = api.get_function_configuration(FunctionName="greet")["Layers"]
assert layers == [{"Arn": arn, "CodeSize": size}], layers
assert json.load(api.invoke(FunctionName="greet")["Payload"]) == "from a bucket"
try:
    api.publish_layer_version(LayerName="tools", Content={"S3Bucket": "layers", "S3Key": "nothing"})
    raise AssertionError("published what is not there")
except api.exceptions.InvalidParameterValueException as error:
    assert "Error occurred while GetObject. S3 Error Code: NoSuchKey." in str(error), error
"#;
    let code = code.replace("API", &server.api);
    tokio::task::spawn_blocking(move || moto.python(&code)).await.unwrap();
}
