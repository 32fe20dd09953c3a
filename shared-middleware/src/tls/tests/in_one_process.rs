//! Trust between two parts of one process, which make no handshake.

use super::*;

/// A gateway and a patient service of one process.
struct InOneProcess {
    authority: Authority,
    gateways: Files,
    patients: Files,
    gateway: Arc<MeshTls>,
    patient: Arc<MeshTls>,
}

impl InOneProcess {
    fn new() -> Self {
        let authority = Authority::named("authority");
        let (gateways, gateway) = Files::of(Part::Gateway, &authority);
        let (patients, patient) = Files::of(Part::Patient, &authority);
        let (gateway, patient) = (Arc::new(gateway), Arc::new(patient));
        Self { authority, gateways, patients, gateway, patient }
    }

    fn trust_at(&self, now_s: i64) -> MutualTrust {
        let clock = Clock::from_fn(move || jiff::Timestamp::from_second(now_s).unwrap());
        MutualTrust::new(Arc::clone(&self.gateway), Arc::clone(&self.patient), clock)
    }
}

#[test]
fn parts_of_one_process_trust_each_other_until_either_is_revoked() {
    let mesh = InOneProcess::new();
    let trust = mesh.trust_at(NOW_S);
    let (gateways, patients) = (&mesh.gateways, &mesh.patients);
    for (reader, lists, named) in
        [(&mesh.patient, patients, gateways), (&mesh.gateway, gateways, patients)]
    {
        assert!(trust.holds() && trust.holds());
        lists.write("crl.pem", &mesh.authority.revoke(&[&named.serial_number]));
        reader.read_again();
        assert!(!trust.holds() && !trust.holds());
        lists.write("crl.pem", "");
        reader.read_again();
    }
    assert!(trust.holds());
}

#[test]
fn nor_do_they_when_a_certificate_has_ended_or_is_of_another_authority_or_part() {
    let mesh = InOneProcess::new();
    assert!(!mesh.trust_at(AFTER_THE_END_S).holds());
    assert!(!mesh.trust_at(0).holds());
    let (trust, other) = (mesh.trust_at(NOW_S), Authority::named("other"));
    for issued in [
        mesh.authority.issue(&Part::Billing.spiffe_id(), "patient", |_| {}),
        mesh.authority.issue(&Part::Patient.spiffe_id(), "billing", |_| {}),
        other.issue(&Part::Patient.spiffe_id(), "patient", |_| {}),
    ] {
        assert!(trust.holds());
        let before = ["cert.pem", "key.pem"].map(|name| {
            (name, fs::read_to_string(mesh.patients.folder.path().join(name)).unwrap())
        });
        mesh.patients.write("cert.pem", &issued.certificate.pem());
        mesh.patients.write("key.pem", &issued.key.serialize_pem());
        mesh.patient.read_again();
        assert!(!trust.holds());
        before.iter().for_each(|(name, text)| mesh.patients.write(name, text));
        mesh.patient.read_again();
    }
    assert!(trust.holds());
}
