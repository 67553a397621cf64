//! Templates and what they come to.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const BODY: &str = r#"{
    "name": "Rex", "age": 3, "weight": 4.5, "good": true, "none": null, "empty": "",
    "tags": ["a", "b/c"], "owner": {"name": "Ann", "phones": [{"n": 1}, {"n": 2}]}, "quote": "it's \"é\""
}"#;

fn try_render(template: &str, body: &str) -> Result<Rendered, String> {
    let template = Template::parse(template)?;
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>()
    };
    let parameters = Parameters {
        path: pairs(&[("id", "7"), ("both", "path")]),
        query: pairs(&[("q", "x y"), ("both", "query")]),
        headers: pairs(&[("X-Own", "o"), ("both", "header")]),
    };
    let context = json!({
        "apiId": "abc", "identity": {"sourceIp": "1.2.3.4", "user": null}, "authorizer": {"claims": {"sub": "me"}},
        "requestTimeEpoch": 1764025920123_u64, "responseOverride": {"header": {}, "status": null},
    });
    let stage_variables = BTreeMap::from([("tier".to_owned(), "gold".to_owned())]);
    let variables = Variables {
        body,
        parameters: &parameters,
        context: context.as_object().unwrap(),
        stage_variables: &stage_variables,
    };
    template.render(&variables).map_err(|failure| failure.to_string())
}

fn render(template: &str) -> String {
    match try_render(template, BODY) {
        Ok(rendered) => rendered.text,
        Err(error) => panic!("{template}\n{error}"),
    }
}

fn expect(cases: &[(&str, &str)]) {
    for (template, expected) in cases {
        assert_eq!(render(template), *expected, "{template}");
    }
}

#[test]
fn text_and_references() {
    expect(&[
        ("", ""),
        ("plain { text } ü\n", "plain { text } ü\n"),
        ("a $ b $5 c $$ d #fff # #1 {}", "a $ b $5 c $$ d #fff # #1 {}"),
        ("$missing ${missing} $!missing|$!{missing}|", "$missing ${missing} ||"),
        ("$missing.a.get('x') $!missing.a.get('x')|", "$missing.a.get('x') |"),
        ("#set($x = 'v')$x ${x}y $!x $!{x}y $xy", "v vy v vy $xy"),
        ("#set($a-b = 1)$a-b", "1"),
        ("#set($x = 'v')$x.length() $x.length()x $x. $x.1", "1 1x v. v.1"),
        ("#set($x = 'v')\\$x \\\\$x \\\\\\$x \\$y \\\\$y", "$x \\v \\$x \\$y \\\\$y"),
        ("\\#if \\\\#if(true)x#end \\#unknown \\x \\\\x", "#if \\x \\#unknown \\x \\\\x"),
        ("a ## comment\nb #* many\nlines *# c", "a b  c"),
        ("## only", ""),
        ("#[[ $x #if( ]]# $input.params('id')", " $x #if(  7"),
        ("${ x } $! $!{", "${ x } $! $!{"),
    ]);
}

#[test]
fn set_and_values() {
    expect(&[
        ("#set($x = 'a$y')$x", "a$y"),
        ("#set($y = 1)#set($x = \"a$y ${y}b $z #if($y == 1)one#end\")$x", "a1 1b $z one"),
        ("#set($x = \"a\\\"b\")$x", "a\\\"b"),
        ("#set($x = true)$x,#set($x = false)$x", "true,false"),
        ("#set($x = -3)$x,#set($x = 1.50)$x,#set($x = 1e3)$x", "-3,1.5,1000.0"),
        ("#set($x = [])$x,#set($x = [1, 'b', \"c\", [true]])$x", "[],[1, b, c, [true]]"),
        ("#set($x = [1..3])$x,#set($x = [2..-1])$x", "[1, 2, 3],[2, 1, 0, -1]"),
        ("#set($n = 2)#set($x = [1..$n])$x", "[1, 2]"),
        ("#set($x = {})$x,#set($x = {'a': 1, \"b\" : {'c' : [2]}})$x", "{},{a=1, b={c=[2]}}"),
        (
            "#set($x = {'a': 1})#set($x.b = 2)#set($x['c'] = 3)$x $x.b $x['c'] $x.get('a')",
            "{a=1, b=2, c=3} 2 3 1",
        ),
        ("#set($x = [1, 2])#set($x[1] = 5)$x $x[0] $x[-1] $x[7]", "[1, 5] 1 5 $x[7]"),
        ("#set($x = 1)#set($x = $nothing)$x", "1"),
        ("#set( $x=1 )|#set ($x = 2)|$x", "||2"),
        ("#{set}($x = 1)$x", "1"),
        ("#set($x = {'k': [10, 20]})$x.k[1] ${x.k[0]}", "20 10"),
    ]);
}

#[test]
fn calculating_and_comparing() {
    expect(&[
        ("#set($x = 1 + 2 * 3 - 4)$x", "3"),
        ("#set($x = (1 + 2) * 3)$x", "9"),
        ("#set($x = 7 / 2)$x,#set($x = 7 % 3)$x,#set($x = 7 / 2.0)$x,#set($x = -7 / 2)$x", "3,1,3.5,-3"),
        ("#set($x = 'old')#set($x = 1 / 0)$x,#set($x = 'a' * 2)$x", "old,old"),
        ("#set($x = 'a' + 1 + \"b\")$x", "a1b"),
        ("#set($n = 2)#set($x = $n - 1)$x", "1"),
        ("#if(1 == 1.0 && '1' == 1 && 'a' != 'b')y#end", "y"),
        ("#if(1 < 2 && 2 <= 2 && 3 > 2 && 2 >= 2)y#end", "y"),
        ("#if(1 lt 2 and 2 le 2 and 3 gt 2 and 2 ge 2 and 1 eq 1 and 1 ne 2)y#end", "y"),
        ("#if('a' < 'b')y#{else}n#end", "n"),
        ("#if(false || true && !false)y#end", "y"),
        ("#if(not false or $nothing)y#end", "y"),
        ("#if(!($a == 1))y#end", "y"),
        ("#if([1, 2] == [1, 2] && {'a': 1} == {'a': 1.0})y#end", "y"),
        ("#if($nothing == $null)y#end#if($nothing == '')n#end", "y"),
        ("#set($x = 1 == 1)$x", "true"),
    ]);
}

#[test]
fn conditions_and_loops() {
    expect(&[
        ("#if(true)a#end#if(false)b#end", "a"),
        ("#if(false)a#elseif(true)b#else c#end", "b"),
        ("#if(false)a#{elseif}(false)b#{else}c#{end}d", "cd"),
        ("#if($nothing)a#else b#end", " b"),
        ("#if('')a#end#if(0)b#end", "ab"),
        ("#if($input.path('$.none'))a#else b#end", " b"),
        ("#foreach($x in [1..3])$x#if($foreach.hasNext),#end#end", "1,2,3"),
        (
            "#foreach($x in ['a', 'b'])$foreach.index$foreach.count$velocityCount$foreach.first$foreach.last #end",
            "011truefalse 122falsetrue ",
        ),
        ("#foreach($x in {'a': 1, 'b': 2})$x#end", "12"),
        ("#foreach($e in $m)no#end#foreach($e in 'text')no#end#foreach($e in [])no#end", ""),
        ("#set($x = 'out')#foreach($x in [1])$x#end$x $foreach", "1out $foreach"),
        (
            "#foreach($a in [1, 2])#foreach($b in [3, 4])$foreach.parent.count$a$b #end#end",
            "113 114 223 224 ",
        ),
        ("#foreach($x in [1..5])#if($x == 3)#break#end$x#end!", "12!"),
        ("a#stop b", "a"),
        ("#foreach($x in [1..5])$x#stop#end!", "1"),
        (
            "#foreach($e in $input.path('$.owner').entrySet())$e.key=$e.getValue();#end",
            "name=Ann;phones=[{\"n\":1},{\"n\":2}];",
        ),
        (
            "#foreach($k in $input.params().querystring.keySet())$k:$input.params().querystring.get($k) #end",
            "q:x y both:query ",
        ),
    ]);
}

#[test]
fn white_space_is_velocitys() {
    expect(&[
        ("#if(true)  \n  a\n#end  \nb", "  a\nb"),
        ("#if(true) x #end y", " x  y"),
        ("#if(false)\na\n#else\nb\n#end\nc", "b\nc"),
        ("#foreach($x in [1, 2])\n  $x\n#end\n", "  1\n  2\n"),
        ("{\n  #set($x = 1)\n  \"a\": $x\n}", "{\n    \"a\": 1\n}"),
        ("#if(true)\n  #set($x = 1)\n  $x\n#end", "  1\n"),
        ("  #set($x = 1)\n$x", "1"),
        ("$x  #set($x = 1)!", "$x!"),
        ("a\r\n#set($x = 1)\r\nb", "a\r\nb"),
        ("a ## b\r\nc", "a c"),
    ]);
}

#[test]
fn methods_of_values() {
    expect(&[
        (
            "#set($s = 'Hello')$s.length() $s.toUpperCase() $s.toLowerCase() $s.substring(1) $s.substring(1, 3)",
            "5 HELLO hello ello el",
        ),
        (
            "#set($s = ' a-b ')[$s.trim()] $s.contains('-') $s.trim().startsWith('a') $s.trim().endsWith('x')",
            "[a-b] true true false",
        ),
        (
            "#set($s = 'a.b.c')$s.replace('.', '_') $s.replaceAll('[ab]', 'x') $s.replaceFirst('\\.', '') $s.split('\\.')",
            "a_b_c x.x.c ab.c [a, b, c]",
        ),
        (
            "#set($s = 'abc')$s.equals('abc') $s.equalsIgnoreCase('ABC') $s.matches('[a-c]+') $s.matches('b')",
            "true true true false",
        ),
        (
            "#set($s = 'abcb')$s.indexOf('b') $s.lastIndexOf('b') $s.indexOf('x') $s.charAt(2) $s.concat('!') $s.isEmpty()",
            "1 3 -1 c abcb! false",
        ),
        ("#set($s = '😀é')$s.length() $s.substring(2)", "3 é"),
        ("#set($s = 'a')$s.nothing $s.size()", "$s.nothing $s.size()"),
        (
            "#set($l = [3, 1])$l.size() $l.isEmpty() $l.add(5) $l.get(2) $l.contains(1) $l.indexOf(1) $l.remove(0) $l",
            "2 false true 5 true 1 3 [1, 5]",
        ),
        ("#set($l = [1])#set($m = $l)#set($_ = $m.add(2))$l", "[1, 2]"),
        ("#set($l = [1, 2, 3])$l.subList(1, 3) $!l.clear()$l", "[2, 3] []"),
        (
            "#set($m = {'a': 1})$!m.put('b', 2)$m.put('b', 3) $m.containsKey('b') $m.containsKey('c') $m.size() $m.keySet() $m.values()",
            "2 true false 2 [a, b] [1, 3]",
        ),
        (
            "#set($m = {'a': 1})$m.get('x') $m.getOrDefault('x', 9) $m.remove('a') $m.isEmpty() $!m.putAll({'z': 0})$m",
            "$m.get('x') 9 1 true {z=0}",
        ),
        (
            "#set($n = 5)$n.toString().length() $n.equals(5),#set($Integer = 0)$Integer.parseInt('42')",
            "1 true,42",
        ),
        ("#set($d = 4.7)$d.intValue() $d.doubleValue()", "4 4.7"),
        (
            "#set($x = $util.escapeJavaScript($input.path('$.quote')).replaceAll(\"\\\\'\", \"'\"))$x",
            r#"it's \"\u00E9\""#,
        ),
    ]);
}

#[test]
fn what_api_gateway_adds() {
    expect(&[
        (
            "$input.params('id') $input.params('q') $input.params('x-own') $input.params('both') [$input.params('no')]",
            "7 x y o path []",
        ),
        (
            "$input.params().path.id $input.params().header.get('X-Own') $input.params().keySet()",
            "7 o [path, querystring, header]",
        ),
        ("$input.params().path", "{id=7, both=path}"),
        (
            "$input.json('$.name') $input.json('$.tags') $input.json('$.owner.phones[*].n') $input.json('$.no')",
            r#""Rex" ["a","b/c"] [1,2] """#,
        ),
        ("$input.json(\"$.age\") $input.json('$.weight') $input.json('$.none')", "3 4.5 null"),
        (
            "$input.path('$.name') $input.path('$.tags') $input.path('$.tags')[1] [$input.path('$.no')] [$input.path('$.none')]",
            r#"Rex ["a","b/c"] b/c [] []"#,
        ),
        ("$input.path('$.owner')", r#"{name=Ann, phones=[{"n":1},{"n":2}]}"#),
        (
            "#set($root = $input.path('$'))$root.owner.name $root.owner.phones[1].n $root.missing $!root.missing|",
            "Ann 2 $root.missing |",
        ),
        (
            "#set($root = $input.path('$'))#foreach($p in $root.owner.phones)$p.n#end $root.tags.size()",
            "12 2",
        ),
        ("#set($root = $input.path('$'))#if($root.good == true && $root.age > 2)y#end", "y"),
        (
            "$context.apiId $context.identity.sourceIp [$context.identity.user] [$context.authorizer.no] $context.authorizer.claims.sub",
            "abc 1.2.3.4 [] [] me",
        ),
        ("$context.requestTimeEpoch #if($context.identity.user == '')empty#end", "1764025920123 empty"),
        (
            "$stageVariables.tier ${stageVariables.tier}en $stageVariables.get('tier') [$stageVariables.no]",
            "gold golden gold []",
        ),
        (
            "$util.urlEncode('a b/é') $util.urlDecode('a+b%2F') $util.base64Encode('hi') $util.base64Decode('aGk=')",
            "a+b%2F%C3%A9 a b/ aGk= hi",
        ),
        ("$util.parseJson('{\"a\": [1, {\"b\": 2}]}').a[1].b", "2"),
        ("$util.escapeJavaScript('a\"b/c')", r#"a\"b\/c"#),
        ("$util $input", "$util $input"),
    ]);
    assert_eq!(render("$input.body"), BODY);
    let empty = |template: &str| try_render(template, "").unwrap().text;
    assert_eq!(empty("$input.body $input.json('$') $input.path('$') [$input.path('$.a')]"), "{} {} {} []");
}

#[test]
fn what_is_set_in_the_context_can_be_read() {
    let rendered = try_render(
        "#set($context.responseOverride.status = 404)#set($context.responseOverride.header.X-Own = 'a')$context.responseOverride.status",
        BODY,
    )
    .unwrap();
    assert_eq!(rendered.text, "404");
    assert_eq!(rendered.context["responseOverride"], json!({"header": {"X-Own": "a"}, "status": 404}));
    assert_eq!(rendered.context["apiId"], "abc");
}

/// As the console makes it.
#[test]
fn the_method_request_passthrough() {
    let template = r#"##  See the documentation
#set($allParams = $input.params())
{
"body-json" : $input.json('$'),
"params" : {
#foreach($type in $allParams.keySet())
    #set($params = $allParams.get($type))
"$type" : {
    #foreach($paramName in $params.keySet())
    "$paramName" : "$util.escapeJavaScript($params.get($paramName))"
        #if($foreach.hasNext),#end
    #end
}
    #if($foreach.hasNext),#end
#end
},
"stage-variables" : {
#foreach($key in $stageVariables.keySet())
"$key" : "$util.escapeJavaScript($stageVariables.get($key))"
    #if($foreach.hasNext),#end
#end
},
"context" : {"user" : "$context.identity.user", "source-ip" : "$context.identity.sourceIp"}
}"#;
    let rendered: Value = serde_json::from_str(&render(template)).unwrap();
    assert_eq!(rendered["body-json"], serde_json::from_str::<Value>(BODY).unwrap());
    assert_eq!(rendered["params"]["header"], json!({"X-Own": "o", "both": "header"}));
    assert_eq!(rendered["stage-variables"], json!({"tier": "gold"}));
    assert_eq!(rendered["context"], json!({"user": "", "source-ip": "1.2.3.4"}));
}

#[test]
fn what_is_beyond_the_subset_is_refused_by_name_and_line() {
    for (template, expected) in [
        ("a\n#macro(x)#end", "line 2: `#macro` is not understood here"),
        ("#parse('x')", "line 1: `#parse` is not understood here"),
        ("#include('x')", "line 1: `#include`"),
        ("#evaluate('x')", "line 1: `#evaluate`"),
        ("#define($x)a#end", "line 1: `#define`"),
        ("\n\n#own(1)", "line 3: `#own(...)` calls a macro"),
        ("#@own()a#end", "line 1: `#@own(...)` calls a macro"),
        ("#if(true)\na", "line 1: `#if` without `#end`"),
        ("#foreach($x in [1])\n", "line 1: `#foreach` without `#end`"),
        ("a #end", "line 1: `#end` without"),
        ("a\n#else", "line 2: `#else` without"),
        ("#foreach($x in [1])#else#end", "`#else` in a `#foreach`"),
        ("#if(true)#else#else#end", "`#else` behind `#else`"),
        ("#if true", "line 1: `#if` needs its `(`"),
        ("#if(true", "goes on with the template's end"),
        ("#if(foo)#end", "`foo)#end`, where a value is expected"),
        ("#if($a = 1)#end", "`=`, where `)` or an operator is expected"),
        ("#if($a == null)#end", "`null` is no word of Velocity"),
        ("#set($a = $b -1)", "write `- 1`"),
        ("#set(a = 1)", "`#set` needs something to set"),
        ("#set($a 1)", "`#set` needs an `=`"),
        ("#set($a.get() = 1)", "cannot set what `get(...)` returns"),
        ("#set($input = 1)", "`$input` is AWS's own"),
        ("#set($x = 'a)", "a text in `'` does not end"),
        ("#set($x = \"a)", "a text in `\"` does not end"),
        ("#set($x = 99999999999999999999)", "too large"),
        ("#set($x = [1)", "in a list, where `,` or `]` is expected"),
        ("#set($x = {'a' 1})", "in a map, where `:` is expected"),
        ("#set($x = \"\n#foo(1)\")", "line 2: `#foo(...)` calls a macro"),
        ("#foreach(x in [1])#end", "`#foreach` needs a variable"),
        ("#foreach($x of [1])#end", "`#foreach` needs an `in`"),
        ("#* open", "`#*` without `*#`"),
        ("#[[ open", "`#[[` without `]]#`"),
        ("${a.b", "the template's end in `${a`, where `}` is expected"),
        ("$a[0", "where `]` is expected"),
        ("$a.get(1 + 2)", "Velocity does not calculate in there"),
        (
            "\n$a.getClass()",
            "line 2: `$a.getClass()` is not understood here: nothing has a method `getClass`",
        ),
        ("$util.toJson($x)", "nothing has a method `toJson`"),
        ("$util.time", "`$util` has only methods"),
        ("$input.bodyy", "`$input.bodyy` is not understood here"),
        ("$input.foo('x')", "nothing has a method `foo`"),
        ("$input.json('$.a.sum()')", "the JSONPath `$.a.sum()` is not understood here"),
        ("$x.replaceAll('(?=a)', '')", "the regular expression `(?=a)` is not understood here"),
    ] {
        let error = Template::parse(template).map(|_| template).unwrap_err();
        assert!(error.starts_with("line ") && error.contains(expected), "{template}\n{error}");
    }
    assert!(Template::parse(&" ".repeat(400_000)).unwrap_err().contains("AWS takes up to"));
}

#[test]
fn what_goes_wrong_says_where() {
    for (template, body, expected) in [
        ("\n$input.json('$.a')", "{no", "the body is no JSON"),
        (
            "\n$util.parseJson('{')",
            "",
            "line 2 of the mapping template: `$util.parseJson` of what is no JSON",
        ),
        ("$util.base64Decode('!')", "", "no base64"),
        ("#set($s = 'abc')\n$s.substring(5)", "", "line 2 of the mapping template: the range 5 to 3"),
        ("#set($l = [1])$l.get(1)", "", "there is no such place in a list of 1"),
        ("#set($a.b = 1)", "", "`$a.b` cannot be set"),
        ("#set($x = 9223372036854775807)#set($x = $x + 1)", "", "a number becomes too large"),
        ("#set($p = '$[')$input.path($p)", "{}", "the JSONPath `$[`"),
        ("#set($p = '(')$p.replaceAll($p, '')", "", "the regular expression `(`"),
    ] {
        let error = try_render(template, body).unwrap_err();
        assert!(error.contains(expected), "{template}\n{error}");
    }
}

#[test]
fn nothing_goes_on_for_ever() {
    let nested = |depth: usize| "#foreach($x in [1..1000])".repeat(depth) + "a" + &"#end".repeat(depth);
    for (template, expected) in [
        (nested(3), "more than 250000 steps"),
        ("#foreach($x in [1..1001])#end".to_owned(), "AWS goes round 1000 times"),
        ("#set($x = [1..99999999])".to_owned(), "more than 250000 steps"),
        ("#set($x = [-9223372036854775808..9223372036854775807])".to_owned(), "more than"),
        ("#set($s = 'aaaaaaaaaa')#foreach($x in [1..1000])#set($s = \"$s$s\")#end".to_owned(), "longer than"),
        ("#set($l = [])#foreach($x in [1..1000])#set($l = [$l])#end$l".to_owned(), "too deeply"),
        ("#set($l = [])#foreach($x in [1..100])#set($l = [$l, $l])#end$l".to_owned(), "longer than"),
        ("#set($m = {})$!m.put('m', $m)$m".to_owned(), "too deeply"),
        ("#set($m = {})$!m.put('m', $m)#set($context.x = $m)".to_owned(), "too deeply"),
        ("#set($l = [])$l.add($l) $l.contains(1) #if($l == [$l])#end".to_owned(), "too deeply"),
        ("#set($l = [1])#foreach($x in [1..100])$!l.addAll($l)#end".to_owned(), "more than"),
        ("#set($m = '')#set($m = $m.replaceAll('', '12345678901234567890'))#foreach($x in [1..50])#set($m = $m.replaceAll('', $m))#end".to_owned(), "bytes"),
    ] {
        let error = try_render(&template, "").map(|rendered| rendered.text.len()).unwrap_err();
        assert!(error.contains(expected), "{template}\n{error}");
    }
    for (open, close) in [
        ("#if(true)", "#end"),
        ("#set($x = ", ")"),
        ("[", "]"),
        ("(", ")"),
        ("!", ""),
        ("$a.b(", ")"),
        ("$a[", "]"),
        ("\"$", "\""),
    ] {
        let template = format!("#set($x = {}1{})", open.repeat(5000), close.repeat(5000));
        assert!(Template::parse(&template).is_err(), "{open}");
    }
    assert!(Template::parse(&"#if(true)".repeat(10_000)).is_err());
    assert!(Template::parse(&format!("#set($x = 1{})", " + 1".repeat(10_000))).is_err());
    let much = format!("[{}1]", "1,".repeat(2_000_000));
    assert!(try_render("$input.path('$').size()", &much).is_err());
    assert!(try_render("$input.json('$')", &much).is_ok());
}

/// Pieces that make sense now and then.
fn fragment() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "$",
        "#",
        "\\",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "'",
        "\"",
        ".",
        ",",
        " ",
        "\n",
        "é",
        "😀",
        "..",
        "==",
        "-1",
        "+",
        "1",
        "in",
        "$x",
        "$!{x}",
        "#if(",
        "#elseif(",
        "#else",
        "#end",
        "#foreach($x in ",
        "#set($x = ",
        "#break",
        "#stop",
        "##",
        "#*",
        "*#",
        "#[[",
        "]]#",
        "$x.get(",
        ".put('a', ",
        ".add(",
        "[0]",
        "$input.path('$')",
        "$input.json('$.a')",
        "$input.params(",
        "$context",
        "$util.escapeJavaScript(",
        "$foreach.hasNext",
        "true",
        "!",
        "&&",
        ".substring(1)",
        ".split('')",
        "{'a': 1}",
        "[1, 2]",
        "[1..9]",
    ]);
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_template_panics(template in fragment()) {
        let _ = try_render(&template, r#"{"a": [1, {"b": "é"}]}"#);
    }

    #[test]
    fn no_text_panics(template in any::<String>()) {
        let _ = try_render(&template, BODY);
    }

    #[test]
    fn text_without_signs_is_unchanged(text in r"[^$#\\]{0,200}") {
        prop_assert_eq!(render(&text), text);
    }

    #[test]
    fn any_body_passes_through_its_template(text in any::<String>()) {
        let body = json!({ "text": text }).to_string();
        prop_assert_eq!(try_render("$input.json('$')", &body).unwrap().text, body.clone());
        prop_assert_eq!(try_render("$input.path('$.text')", &body).unwrap().text, text);
        prop_assert_eq!(try_render("$input.body", &body).unwrap().text, body);
    }
}
