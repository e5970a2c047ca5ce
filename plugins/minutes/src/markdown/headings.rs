//! The headings and fixed words of the Markdown, by language.

/// The headings in one language.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Headings {
    pub(super) minutes: &'static str,
    pub(super) attendees: &'static str,
    /// Follows the last attendee if there were more.
    pub(super) others: &'static str,
    pub(super) summary: &'static str,
    pub(super) decisions: &'static str,
    pub(super) actions: &'static str,
    pub(super) due: &'static str,
    pub(super) questions: &'static str,
    pub(super) incomplete: &'static str,
}

impl Headings {
    /// Returns the headings for a language tag; English ones if the language has none here.
    pub(super) fn of(tag: Option<&str>) -> &'static Self {
        let language = tag.and_then(|tag| tag.split('-').next()).unwrap_or_default().to_ascii_lowercase();
        match language.as_str() {
            "de" => &GERMAN,
            "es" => &SPANISH,
            "fr" => &FRENCH,
            "it" => &ITALIAN,
            "nl" => &DUTCH,
            "pt" => &PORTUGUESE,
            _ => &ENGLISH,
        }
    }
}

static ENGLISH: Headings = Headings {
    minutes: "Minutes",
    attendees: "Attendees",
    others: " and others",
    summary: "Summary",
    decisions: "Decisions",
    actions: "Action items",
    due: "due",
    questions: "Open questions",
    incomplete: "These minutes are incomplete.",
};

static GERMAN: Headings = Headings {
    minutes: "Protokoll",
    attendees: "Anwesende",
    others: " und andere",
    summary: "Zusammenfassung",
    decisions: "Beschlüsse",
    actions: "Aufgaben",
    due: "fällig",
    questions: "Offene Fragen",
    incomplete: "Dieses Protokoll ist unvollständig.",
};

static SPANISH: Headings = Headings {
    minutes: "Acta",
    attendees: "Asistentes",
    others: " y otros",
    summary: "Resumen",
    decisions: "Decisiones",
    actions: "Tareas",
    due: "plazo",
    questions: "Cuestiones pendientes",
    incomplete: "Esta acta está incompleta.",
};

static FRENCH: Headings = Headings {
    minutes: "Compte rendu",
    attendees: "Participants",
    others: " et d’autres",
    summary: "Résumé",
    decisions: "Décisions",
    actions: "Actions",
    due: "échéance",
    questions: "Questions en suspens",
    incomplete: "Ce compte rendu est incomplet.",
};

static ITALIAN: Headings = Headings {
    minutes: "Verbale",
    attendees: "Partecipanti",
    others: " e altri",
    summary: "Riepilogo",
    decisions: "Decisioni",
    actions: "Attività",
    due: "scadenza",
    questions: "Questioni aperte",
    incomplete: "Questo verbale è incompleto.",
};

static DUTCH: Headings = Headings {
    minutes: "Notulen",
    attendees: "Aanwezigen",
    others: " en anderen",
    summary: "Samenvatting",
    decisions: "Besluiten",
    actions: "Actiepunten",
    due: "termijn",
    questions: "Open vragen",
    incomplete: "Deze notulen zijn onvolledig.",
};

static PORTUGUESE: Headings = Headings {
    minutes: "Ata",
    attendees: "Participantes",
    others: " e outros",
    summary: "Resumo",
    decisions: "Decisões",
    actions: "Tarefas",
    due: "prazo",
    questions: "Questões em aberto",
    incomplete: "Esta ata está incompleta.",
};
