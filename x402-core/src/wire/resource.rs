use super::Message;
use crate::error::ParseError;
use crate::json::{Cursor, Field, JsonStr, Members, RawJson, Writer};

/// The resource for sale: spec v2 §5.1.2, `ResourceInfo`. Only its URL decides anything: any other
/// field of the wrong type is kept in `other`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResourceInfo<'a> {
    /// URL of the resource.
    pub url: JsonStr<'a>,
    /// A description for people; may be empty.
    pub description: Option<JsonStr<'a>>,
    /// Media type of the answer; may be empty.
    pub mime_type: Option<JsonStr<'a>>,
    /// Name of the service, for people.
    pub service_name: Option<JsonStr<'a>>,
    /// Topics, an array of strings.
    pub tags: Option<RawJson<'a>>,
    /// URL of an icon.
    pub icon_url: Option<JsonStr<'a>>,
    /// Keys that the specification does not name.
    pub other: Members<'a>,
}

impl<'a> Message<'a> for ResourceInfo<'a> {
    fn read(c: &mut Cursor<'a>) -> Result<Self, ParseError> {
        let mut url = Field::default();
        let mut description = Field::default();
        let mut mime_type = Field::default();
        let mut service_name = Field::default();
        let mut tags = Field::default();
        let mut icon_url = Field::default();
        let mut object = c.object()?;
        while let Some(key) = c.key(&mut object)? {
            match key {
                "url" => url.set(c.string()?)?,
                "description" => {
                    description.set_nullable(c.beside(&mut object, Cursor::string)?)?;
                }
                "mimeType" => mime_type.set_nullable(c.beside(&mut object, Cursor::string)?)?,
                "serviceName" => {
                    service_name.set_nullable(c.beside(&mut object, Cursor::string)?)?;
                }
                "tags" => tags.set_nullable(c.beside(&mut object, Cursor::raw_array)?)?,
                "iconUrl" => icon_url.set_nullable(c.beside(&mut object, Cursor::string)?)?,
                _ => c.unknown(&mut object)?,
            }
        }
        Ok(Self {
            url: c.required(url, "url")?,
            description: description.optional(),
            mime_type: mime_type.optional(),
            service_name: service_name.optional(),
            tags: tags.optional(),
            icon_url: icon_url.optional(),
            other: c.members(&object, &NAMES),
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.open('{').key("url").string(self.url);
        w.maybe_string("description", self.description);
        w.maybe_string("mimeType", self.mime_type);
        w.maybe_string("serviceName", self.service_name);
        w.maybe_raw("tags", self.tags);
        w.maybe_string("iconUrl", self.icon_url);
        let absent = [
            ("description", self.description.is_none()),
            ("mimeType", self.mime_type.is_none()),
            ("serviceName", self.service_name.is_none()),
            ("tags", self.tags.is_none()),
            ("iconUrl", self.icon_url.is_none()),
        ];
        w.others(self.other, &NAMES, &absent);
        w.close('}');
    }
}

const NAMES: [&str; 6] = ["url", "description", "mimeType", "serviceName", "tags", "iconUrl"];
