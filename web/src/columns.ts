/** Which column is which, by the names that people usually give; the command line knows the same names. */

const USUAL = {
  comment:
    "comment comments commenttext commentbody commentcontent text textoriginal textdisplay content contents body document review reviewtext sentence message 댓글 댓글내용 댓글본문 댓글텍스트 내용 본문 텍스트 리뷰 리뷰내용 문장 후기 의견 코멘트",
  title: "videotitle title 제목 영상제목 동영상제목 비디오제목",
  summary: "videosummary summary 요약 영상요약 동영상요약 줄거리",
};

export type Role = keyof typeof USUAL;

const fold = (name: string): string => name.normalize("NFC").toLowerCase().replace(/[\s_.\-\ufeff]/g, "");

/** The column of a role; -1 if none or several could be meant. */
export function locate(names: string[], role: Role): number {
  const usual = USUAL[role].split(" ");
  const folded = names.map(fold);
  const all = folded.flatMap((name, i) => (usual.includes(name) ? [i] : []));
  // YouTube gives one comment twice, as text and as HTML.
  const original = folded.indexOf("textoriginal");
  const found = original < 0 ? all : all.filter((i) => folded[i] !== "textdisplay");
  return found.length === 1 ? (found[0] ?? -1) : -1;
}
