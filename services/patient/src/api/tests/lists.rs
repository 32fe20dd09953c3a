//! Pages and searches.

use kit::page::Cursor;

use super::*;

#[tokio::test]
async fn pages_are_linked_and_name_nobody() {
    let world = World::sqlite().await;
    for n in 0..5 {
        world.path_of(&format!("jane{n}@example.com")).await;
    }
    let search = json!({"query": "JANE ROE", "size": 2, "sort": "createdAt", "order": "desc"});
    let mut page = world.send("POST", "/patients/search", &[], &search).await;
    let (mut ids, mut sizes) = (Vec::new(), Vec::new());
    loop {
        assert_eq!((page.status, &page.body["size"]), (StatusCode::OK, &json!(2)));
        let patients = page.body["patients"].as_array().unwrap();
        sizes.push(patients.len());
        ids.extend(patients.iter().map(|patient| patient["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page.body["nextCursor"].as_str() else { break };
        let link = page.headers["link"].to_str().unwrap().to_owned();
        assert_eq!(link, format!("</api/patients?size=2&cursor={cursor}>; rel=\"next\""));
        // By the link, or by the same search with the cursor: both go on.
        let mut with_cursor = search.clone();
        with_cursor["cursor"] = json!(cursor);
        let searched = world.send("POST", "/patients/search", &[], &with_cursor).await;
        page = world.get(&format!("/patients?size=2&cursor={cursor}")).await;
        assert_eq!(page.body["patients"], searched.body["patients"]);
    }
    assert!(page.headers.get("link").is_none());
    assert_eq!(sizes, [2, 2, 1]);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

#[tokio::test]
async fn a_cursor_survives_the_longest_name_and_search() {
    let world = World::sqlite().await;
    let name = "\\".repeat(100);
    for n in 0..2 {
        let email = json!(format!("jane{n}@example.com"));
        let added = world.register(&with(&[("name", json!(name)), ("email", email)])).await;
        assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    }
    let page =
        world.send("POST", "/patients/search", &[], &json!({"query": name, "size": 1})).await;
    let cursor = page.body["nextCursor"].as_str().unwrap();
    let next = world.get(&format!("/patients?size=1&cursor={cursor}")).await;
    assert_eq!((next.status, &next.body["nextCursor"]), (StatusCode::OK, &Value::Null));
}

/// Versions of before sorted and searched otherwise.
#[tokio::test]
async fn a_cursor_of_an_earlier_version_is_refused_and_told_so() {
    let world = World::sqlite().await;
    let cursors = Cursors::open(&world.inner.db).await.unwrap();
    let list = r#"{"sort":"name","order":"asc","search":null}"#.to_owned();
    let cursor = Cursor { list, key: "jane roe".to_owned(), id: Uuid::nil() };
    let cursor = cursors.seal(&cursor).unwrap();
    let refused = world.get(&format!("/patients?cursor={cursor}")).await;
    assert_eq!(refused.fields(), ["cursor"]);
    assert!(refused.body.to_string().contains("earlier version"), "{}", refused.body);
}

#[tokio::test]
async fn odd_questions_are_told_what_is_wrong() {
    let world = World::sqlite().await;
    for n in 0..2 {
        world.path_of(&format!("jane{n}@example.com")).await;
    }
    let page = world.get("/patients?size=1&search=jane").await;
    let cursor = page.body["nextCursor"].as_str().unwrap();
    let table = [
        ("size=0".to_owned(), vec!["size"]),
        ("size=201".to_owned(), vec!["size"]),
        ("sort=email".to_owned(), vec!["sort"]),
        ("order=up".to_owned(), vec!["order"]),
        ("cursor=x".to_owned(), vec!["cursor"]),
        (format!("cursor={cursor}&order=desc"), vec!["cursor"]),
        (format!("cursor={cursor}&search=john"), vec!["cursor"]),
        (format!("search={}", "x".repeat(101)), vec!["search"]),
        ("size=x".to_owned(), vec!["size"]),
        ("size=1&size=2".to_owned(), vec!["size"]),
        ("other=1".to_owned(), vec!["other"]),
        ("size=201&sort=x&order=y".to_owned(), vec!["size", "sort", "order"]),
        (format!("x=1&y=2&size=abc&cursor={cursor}&order=desc"), vec!["size", "cursor", "x", "y"]),
    ];
    for (query, fields) in table {
        assert_eq!(world.get(&format!("/patients?{query}")).await.fields(), fields, "{query}");
    }
    let long = json!({"query": "x".repeat(101)});
    let refused = world.send("POST", "/patients/search", &[], &long).await;
    assert_eq!(refused.fields(), ["query"]);
    let all = json!({"query": 1, "size": "2", "sort": [], "order": "x", "cursor": "x", "y": 1});
    let refused = world.send("POST", "/patients/search", &[], &all).await;
    assert_eq!(refused.fields(), ["size", "query", "sort", "order", "cursor", "y"]);
    for query in ["", "search=", "search=%20", "sort=createdAt&order=desc"] {
        let all = world.get(&format!("/patients?{query}")).await;
        assert_eq!(all.body["patients"].as_array().unwrap().len(), 2, "{query}");
        assert_eq!(all.body["size"], 20);
    }
}
