//! Kafka, started and hurt.

use std::net::TcpStream;

use testbed::{Kafka, Security};

#[test]
fn a_cluster_of_three_brokers_loses_one_and_gets_it_back() {
    let kafka = Kafka::start(3, Security::None).unwrap();
    eprintln!("Kafka {} of three brokers started in {:?}", kafka.version(), kafka.took());
    let addresses: Vec<String> = kafka.bootstrap().split(',').map(str::to_owned).collect();
    kafka.kill(2);
    assert!(TcpStream::connect(&addresses[1]).is_err());
    assert!(TcpStream::connect(&addresses[0]).is_ok());
    let begun = std::time::Instant::now();
    kafka.start_again(2).unwrap();
    eprintln!("and one again in {:?}", begun.elapsed());
    assert!(TcpStream::connect(&addresses[1]).is_ok());
}

#[test]
fn a_broker_ends_when_it_is_asked_to_and_starts_again() {
    let kafka = Kafka::start(1, Security::None).unwrap();
    eprintln!("Kafka {} of one broker started in {:?}", kafka.version(), kafka.took());
    kafka.pause(1);
    kafka.resume(1);
    let begun = std::time::Instant::now();
    kafka.stop(1);
    eprintln!("stopped in {:?}", begun.elapsed());
    assert!(TcpStream::connect(kafka.bootstrap()).is_err());
    kafka.start_again(1).unwrap();
    eprintln!("and again, all in {:?}", begun.elapsed());
    assert_eq!(kafka.log(1).matches("--- start").count(), 2);
}
