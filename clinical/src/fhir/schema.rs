//! The R4 elements that Medulla checks, read once from two tables generated from HL7's definitions.

use std::sync::LazyLock;

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};

pub(super) struct Element {
    /// Without `[x]`.
    pub(super) name: &'static str,
    /// `value[x]`: the type stands in the member's name.
    pub(super) choice: bool,
    pub(super) required: bool,
    pub(super) many: bool,
    pub(super) types: Vec<&'static str>,
    pub(super) binding: Option<Binding>,
}

/// A required binding.
#[derive(Clone, Copy)]
pub(super) struct Binding {
    /// Its name in the table of codes; a concept's code system is called so, too.
    set: &'static str,
    pub(super) codes: &'static [&'static str],
}

impl Binding {
    /// The system that a CodeableConcept's codes are of.
    pub(super) fn system(&self) -> String {
        format!("http://terminology.hl7.org/CodeSystem/{}", self.set)
    }
}

pub(super) struct Definition {
    pub(super) elements: Vec<Element>,
    /// Those that are parts of it (`Coverage.class`) or annotations, with their type.
    pub(super) parts: Vec<(&'static str, &'static str)>,
}

/// By type name (`Patient`, `HumanName`, `Bundle.entry`).
static TYPES: LazyLock<HashMap<&'static str, Definition>> = LazyLock::new(read_types);

static CODES: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    lines(include_str!("r4_codes.txt"))
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.collect()))
        })
        .collect()
});

/// The same, for the question that every coded value asks.
static CODE_SETS: LazyLock<HashMap<&'static str, HashSet<&'static str>>> =
    LazyLock::new(|| CODES.iter().map(|(set, codes)| (*set, codes.iter().copied().collect())).collect());

fn lines(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

fn read_types() -> HashMap<&'static str, Definition> {
    let mut types: HashMap<&str, Vec<Element>> = HashMap::default();
    let mut current = "";
    for line in lines(include_str!("r4_elements.txt")) {
        match line.strip_prefix("  ") {
            None => {
                current = line;
                types.entry(current).or_default();
            }
            Some(element) => types.entry(current).or_default().extend(read_element(element)),
        }
    }
    let part = |element: &Element| {
        let type_ = element.types.first().copied()?;
        (type_.contains('.') || type_ == "Annotation").then_some((element.name, type_))
    };
    let define = |elements: Vec<Element>| {
        let parts = elements.iter().filter_map(part).collect();
        Definition { elements, parts }
    };
    types.into_iter().map(|(name, elements)| (name, define(elements))).collect()
}

fn read_element(line: &'static str) -> Option<Element> {
    let mut words = line.split(' ');
    let (name, cardinality, type_) = (words.next()?, words.next()?, words.next()?);
    let set = words.next().and_then(|set| set.strip_prefix('='));
    let binding = set.and_then(|set| Some(Binding { set, codes: CODES.get(set)?.as_slice() }));
    let (min, max) = cardinality.split_once("..")?;
    Some(Element {
        name: name.strip_suffix("[x]").unwrap_or(name),
        choice: name.ends_with("[x]"),
        required: min != "0",
        many: max != "1",
        types: if type_ == "*" { OPEN_TYPES.to_vec() } else { type_.split('|').collect() },
        binding,
    })
}

/// Whether a value set or code system of the table has this code.
pub(super) fn has_code(set: &str, code: &str) -> bool {
    CODE_SETS.get(set).is_some_and(|codes| codes.contains(code))
}

/// The elements of a type, or `None` for one that the table does not have.
pub(super) fn elements(type_: &str) -> Option<&'static [Element]> {
    definition(type_).map(|definition| definition.elements.as_slice())
}

pub(super) fn definition(type_: &str) -> Option<&'static Definition> {
    TYPES.get(type_)
}

/// The elements of a resource type, with its name from the table; `None` where the table has it not.
pub(super) fn checked(type_: &str) -> Option<(&'static str, &'static [Element])> {
    if !is_resource(type_) {
        return None;
    }
    TYPES.get_key_value(type_).map(|(name, definition)| (*name, definition.elements.as_slice()))
}

pub(super) fn is_resource(type_: &str) -> bool {
    R4_RESOURCES.split(' ').any(|r| r == type_)
}

/// The types of R4.
pub(super) fn resources() -> impl Iterator<Item = &'static str> {
    R4_RESOURCES.split(' ').filter(|type_| !type_.is_empty())
}

/// Resource types that only R4B, R5 or later know.
pub(super) fn is_later_resource(type_: &str) -> bool {
    LATER_RESOURCES.split(' ').any(|r| r == type_)
}

/// Elements that came with R5: met in the named resource or data type, they tell its version.
pub(super) fn is_later_element(type_: &str, element: &str) -> bool {
    LATER_ELEMENTS.iter().any(|(t, elements)| *t == type_ && elements.split(' ').any(|e| e == element))
}

/// Resources that events are made of or read by. What would change their meaning and is not understood must not be passed over.
pub(super) fn is_interpreted(resource: &str) -> bool {
    matches!(resource, "Bundle" | "Encounter" | "Location" | "Observation" | "Patient")
}

/// What every element (and resource) may have besides its own: name, type, whether it repeats.
pub(super) static COMMON: &[(&str, &str, bool)] = &[
    ("id", "string", false),
    ("extension", "Extension", true),
    ("modifierExtension", "Extension", true),
    ("meta", "Meta", false),
    ("implicitRules", "uri", false),
    ("language", "code", false),
    ("text", "Narrative", false),
    ("contained", "Resource", true),
];

static OPEN_TYPES: &[&str] = &[
    "base64Binary",
    "boolean",
    "canonical",
    "code",
    "date",
    "dateTime",
    "decimal",
    "id",
    "instant",
    "integer",
    "markdown",
    "oid",
    "positiveInt",
    "string",
    "time",
    "unsignedInt",
    "uri",
    "url",
    "uuid",
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "CodeableConcept",
    "Coding",
    "ContactPoint",
    "Count",
    "Distance",
    "Duration",
    "HumanName",
    "Identifier",
    "Money",
    "Period",
    "Quantity",
    "Range",
    "Ratio",
    "Reference",
    "SampledData",
    "Signature",
    "Timing",
    "ContactDetail",
    "Contributor",
    "DataRequirement",
    "Expression",
    "ParameterDefinition",
    "RelatedArtifact",
    "TriggerDefinition",
    "UsageContext",
    "Dosage",
    "Meta",
];

static R4_RESOURCES: &str = "Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse \
    AuditEvent Basic Binary BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement CarePlan \
    CareTeam CatalogEntry ChargeItem ChargeItemDefinition Claim ClaimResponse ClinicalImpression \
    CodeSystem Communication CommunicationRequest CompartmentDefinition Composition ConceptMap Condition \
    Consent Contract Coverage CoverageEligibilityRequest CoverageEligibilityResponse DetectedIssue \
    Device DeviceDefinition DeviceMetric DeviceRequest DeviceUseStatement DiagnosticReport \
    DocumentManifest DocumentReference EffectEvidenceSynthesis Encounter Endpoint EnrollmentRequest \
    EnrollmentResponse EpisodeOfCare EventDefinition Evidence EvidenceVariable ExampleScenario \
    ExplanationOfBenefit FamilyMemberHistory Flag Goal GraphDefinition Group GuidanceResponse \
    HealthcareService ImagingStudy Immunization ImmunizationEvaluation ImmunizationRecommendation \
    ImplementationGuide InsurancePlan Invoice Library Linkage List Location Measure MeasureReport Media \
    Medication MedicationAdministration MedicationDispense MedicationKnowledge MedicationRequest \
    MedicationStatement MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication \
    MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction \
    MedicinalProductManufactured MedicinalProductPackaged MedicinalProductPharmaceutical \
    MedicinalProductUndesirableEffect MessageDefinition MessageHeader MolecularSequence NamingSystem \
    NutritionOrder Observation ObservationDefinition OperationDefinition OperationOutcome Organization \
    OrganizationAffiliation Parameters Patient PaymentNotice PaymentReconciliation Person PlanDefinition \
    Practitioner PractitionerRole Procedure Provenance Questionnaire QuestionnaireResponse RelatedPerson \
    RequestGroup ResearchDefinition ResearchElementDefinition ResearchStudy ResearchSubject \
    RiskAssessment RiskEvidenceSynthesis Schedule SearchParameter ServiceRequest Slot Specimen \
    SpecimenDefinition StructureDefinition StructureMap Subscription Substance SubstanceNucleicAcid \
    SubstancePolymer SubstanceProtein SubstanceReferenceInformation SubstanceSourceMaterial \
    SubstanceSpecification SupplyDelivery SupplyRequest Task TerminologyCapabilities TestReport \
    TestScript ValueSet VerificationResult VisionPrescription";

static LATER_RESOURCES: &str = "ActorDefinition AdministrableProductDefinition ArtifactAssessment BiologicallyDerivedProductDispense \
    Citation ClinicalUseDefinition ConditionDefinition DeviceAssociation DeviceDispense DeviceUsage \
    EncounterHistory EvidenceReport FormularyItem GenomicStudy ImagingSelection Ingredient InventoryItem \
    InventoryReport ManufacturedItemDefinition MedicinalProductDefinition NutritionIntake \
    NutritionProduct PackagedProductDefinition Permission RegulatedAuthorization Requirements \
    SubscriptionStatus SubscriptionTopic SubstanceDefinition TestPlan Transport";

static LATER_ELEMENTS: &[(&str, &str)] = &[
    ("AllergyIntolerance", "participant"),
    (
        "Appointment",
        "account cancellationDate cancellationReason class note occurrenceChanged originatingAppointment \
         previousAppointment reason recurrenceId recurrenceTemplate replaces subject virtualService",
    ),
    // A CodeableReference: a concept or a reference where R4 has one of them.
    ("CodeableConcept", "concept reference"),
    ("Condition", "participant"),
    ("Coverage", "insurancePlan kind paymentBy"),
    ("DiagnosticReport", "composition note supportingInfo"),
    (
        "DocumentReference",
        "attester basedOn bodySite event facilityType modality period practiceSetting version",
    ),
    (
        "Encounter",
        "actualPeriod admission careTeam plannedEndDate plannedStartDate subjectStatus virtualService",
    ),
    ("Immunization", "administeredProduct basedOn informationSource supportingInformation"),
    ("Location", "characteristic contact form virtualService"),
    ("Medication", "definition marketingAuthorizationHolder totalVolume"),
    ("MedicationAdministration", "isSubPotent medication occurenceDateTime occurencePeriod"),
    (
        "MedicationRequest",
        "device effectiveDosePeriod informationSource medication renderedDosageInstruction",
    ),
    ("Observation", "bodyStructure instantiatesCanonical instantiatesReference organizer triggeredBy"),
    ("Organization", "description qualification"),
    ("Practitioner", "deceasedBoolean deceasedDateTime"),
    ("Procedure", "focus occurrenceDateTime occurrencePeriod recorded reportedBoolean reportedReference"),
    ("Reference", "concept"),
    ("ServiceRequest", "bodyStructure focus reason"),
    ("Specimen", "combined feature role"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_named_in_the_table_is_in_it() {
        let primitive = |t: &str| t.starts_with(|c: char| c.is_ascii_lowercase());
        for (name, definition) in TYPES.iter() {
            for type_ in definition.elements.iter().flat_map(|e| &e.types) {
                let known = primitive(type_)
                    || TYPES.contains_key(type_)
                    || *type_ == "Resource"
                    || OPEN_TYPES.contains(type_);
                assert!(known, "{name}: {type_}");
            }
        }
        assert!(
            elements("Observation")
                .unwrap()
                .iter()
                .any(|e| e.name == "status" && e.required && e.binding.is_some())
        );
        assert!(checked("Patient").is_some() && checked("HumanName").is_none());
        assert!(is_resource("Questionnaire") && !is_resource("Transport") && is_later_resource("Transport"));
    }
}
